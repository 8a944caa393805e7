"""Whether an answer has a form that can be written down as a pattern, or came to an end."""

import re
from collections.abc import Sequence

from drpt.rewards.reward import Answer, Verdict


class FormatReward:
    """1 where a regular expression matches the whole text, else 0.

    How long a pattern takes is not bounded: one that backtracks without end (``(a+)+b``) can hold up a run.

    Args:
        pattern: Of Python's `re`; a dot matches line breaks, too.

    Raises:
        ValueError: It is no regular expression.
    """

    def __init__(self, *, pattern: str) -> None:
        try:
            self._pattern = re.compile(pattern, re.DOTALL)
        except re.error as error:
            raise ValueError(f"pattern={pattern!r} is no regular expression: {error}.") from error

    def __call__(self, answers: Sequence[Answer]) -> list[Verdict]:
        """See `drpt.rewards.reward.RewardTerm`."""
        matches = [self._pattern.fullmatch(answer.text) is not None for answer in answers]
        return [Verdict(value=float(one), outcome="formatted" if one else "unformatted") for one in matches]


class FinishedReward:
    """1 where the answer ended by itself, 0 where its length ended it."""

    def __call__(self, answers: Sequence[Answer]) -> list[Verdict]:
        """See `drpt.rewards.reward.RewardTerm`."""
        return [
            Verdict(value=float(answer.is_finished), outcome="finished" if answer.is_finished else "cut") for answer in answers
        ]
