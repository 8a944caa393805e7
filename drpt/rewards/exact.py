"""A reward for answers that equal the reference response word for word."""

from collections.abc import Sequence

from drpt.rewards.reward import Answer, Verdict


class ExactReward:
    """1 if the answer equals the reference up to white space at both ends, else 0.

    Args:
        ignore_case: Whether upper and lower case are treated as equal.
    """

    needs_reference = True

    def __init__(self, *, ignore_case: bool) -> None:
        self._ignore_case = ignore_case

    def __call__(self, answers: Sequence[Answer]) -> list[Verdict]:
        """See `drpt.rewards.reward.RewardTerm`."""
        found = [self._plain(answer.text) == self._plain(answer.example.response) for answer in answers]
        return [Verdict(value=float(same), outcome="correct" if same else "wrong", is_correct=same) for same in found]

    def _plain(self, text: str) -> str:
        return text.strip().casefold() if self._ignore_case else text.strip()
