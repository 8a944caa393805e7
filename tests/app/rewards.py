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


class Odd:
    """A number that depends on the answer, until an answer for which there is none.

    Args:
        value: What is said of that answer, the second of a call.
        good_calls: Calls before it; the first ones belong to the evaluation before training.
        size: What other values are multiplied by.
    """

    def __init__(self, *, value: float | str, good_calls: int, size: float = 1.0) -> None:
        self._value = float(value)
        self._good_calls = good_calls
        self._size = size
        self._calls = 0

    def __call__(self, answers):
        self._calls += 1
        values = [self._size * (len(answer.text) % 3) for answer in answers]
        if self._calls > self._good_calls and len(values) > 1:
            values[1] = self._value
        return [Verdict(value=value, outcome="odd") for value in values]


class Alike:
    """The same number for every answer: nothing to learn from."""

    def __call__(self, answers):
        return [Verdict(value=0.5, outcome="alike") for _ in answers]


class AlikeAtFirst:
    """The same number for every answer of the first calls, then one that depends on the answer.

    Args:
        alike_calls: Calls that teach nothing; the first ones belong to the evaluation before training.
    """

    def __init__(self, *, alike_calls: int) -> None:
        self._alike_calls = alike_calls
        self._calls = 0

    def __call__(self, answers):
        self._calls += 1
        is_alike = self._calls <= self._alike_calls
        return [Verdict(value=0.0 if is_alike else float(len(answer.text) % 5), outcome="odd") for answer in answers]
