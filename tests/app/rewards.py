"""A reward from outside the package, in which even a random model differs from answer to answer."""

from drpt.rewards.reward import Verdict


class ManyLetters:
    """Share of the answer's characters that are lower-case letters."""

    def __init__(self, *, threshold: float) -> None:
        self._threshold = threshold

    def __call__(self, answers):
        shares = [sum(c.islower() for c in answer.text) / max(len(answer.text), 1) for answer in answers]
        return [
            Verdict(value=share, outcome="many" if share > self._threshold else "few", is_correct=share > self._threshold)
            for share in shares
        ]
