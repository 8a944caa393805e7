"""Rewards for the form of an answer: a regular expression, and an end before the length limit."""

import re
from collections.abc import Sequence

from drpt.rewards.reward import Answer, Verdict


class FormatReward:
    """1 if a regular expression matches the whole answer, else 0.

    The time for matching is not bounded: a pattern with exponential backtracking, such as ``(a+)+b``, can stall a run.

    Args:
        pattern: Regular expression of Python's `re`; a dot also matches line breaks.

    Raises:
        ValueError: The pattern is not a regular expression.
    """

    def __init__(self, *, pattern: str) -> None:
        try:
            self._pattern = re.compile(pattern, re.DOTALL)
        except re.error as error:
            raise ValueError(f"pattern={pattern!r} is not a regular expression: {error}.") from error

    def __call__(self, answers: Sequence[Answer]) -> list[Verdict]:
        """See `drpt.rewards.reward.RewardTerm`."""
        matches = [self._pattern.fullmatch(answer.text) is not None for answer in answers]
        return [Verdict(value=float(one), outcome="formatted" if one else "unformatted") for one in matches]


class FinishedReward:
    """1 if the answer ended by itself, 0 if the length limit cut it off."""

    def __call__(self, answers: Sequence[Answer]) -> list[Verdict]:
        """See `drpt.rewards.reward.RewardTerm`."""
        return [
            Verdict(value=float(answer.is_finished), outcome="finished" if answer.is_finished else "cut") for answer in answers
        ]
