"""What a reward is asked and what it answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from drpt.data.example import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One response to one prompt, as text."""

    example: Example  # prompt, reference response, and what a verifier needs
    text: str  # the response without special tokens
    is_finished: bool  # it ended by itself, not by its length
    num_tokens: int  # of the response


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one term of the reward says of one answer."""

    value: float
    outcome: str  # one word for the table of outcomes: correct, wrong, unparsable, timed_out, …
    is_correct: bool | None = None  # of verifiers: whether the answer solves its example; None of terms that do not judge it
    toxicity: float | None = (
        None  # of judges of toxicity: probability in [0, 1] that the answer is offensive; None of the others
    )


class RewardTerm(Protocol):
    """One term; built once a run from the configuration's ``_target_``.

    A class that compares answers with reference responses says so with ``needs_reference = True``: it is then refused for
    prompts that have none.
    """

    def __call__(self, answers: Sequence[Answer]) -> list[Verdict]:
        """Judge answers.

        Args:
            answers: In any number and order.

        Returns:
            One verdict an answer.
        """
