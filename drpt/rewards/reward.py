"""The interface of reward terms: answers in, verdicts out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from drpt.data.example import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One response to one prompt, as text."""

    example: Example  # prompt, reference response, and data for the verifier
    text: str  # response without special tokens
    is_finished: bool  # whether the response ended by itself, not by the length limit
    num_tokens: int  # number of tokens in the response


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Judgement of one answer by one reward term."""

    value: float
    outcome: str  # one word for the table of outcomes: correct, wrong, unparsable, timed_out, …
    is_correct: bool | None = None  # whether the answer solves its example; None for terms that are not verifiers
    toxicity: float | None = None  # probability in [0, 1] that the answer is offensive; None if the term does not measure it


class RewardTerm(Protocol):
    """One term of a reward, built once per run from ``_target_`` in the configuration.

    A class that compares answers with reference responses declares ``needs_reference = True``. drpt then refuses data without
    responses. A method ``prepare()``, if there is one, is called before the first answers.
    """

    def __call__(self, answers: Sequence[Answer]) -> list[Verdict]:
        """Judge answers.

        Args:
            answers: Answers in any number and order.

        Returns:
            Verdicts on the answers [answer], in their order.
        """
