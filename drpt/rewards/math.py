r"""Mathematical answers, compared as mathematics: ``\boxed{1/2}`` is 0.5.

What is read, and what counts as equal, `drpt.rewards.mathematics` says: numbers exactly by rules of this package, other
expressions by math-verify (Kydlíček et al. 2025, Hugging Face) and sympy.
"""

from collections.abc import Sequence

from drpt.checks import check_choice, check_interval
from drpt.data.example import Example
from drpt.rewards.math_judge import shared_judge
from drpt.rewards.references import UNREADABLE
from drpt.rewards.reward import Answer, Verdict


class MathReward:
    r"""1 where the answer equals the example's reference, else 0; what cannot be judged in time is counted apart from wrong.

    Reference and answer go through one reader. Of a text, the last ``\boxed{…}`` or ``\fbox{…}`` counts; without one, what
    follows GSM8K's ``####``; a text that is an expression as a whole; what follows "the answer is"; else the last formula or
    number, of an equation its last side. "The answer is 8!" is 8, and ``\boxed{8!}`` a factorial.

    A known unit may be missing, words of size count (``5 million``), and other letters beside a number are algebra: ``3R^2``.

    Judging runs in a process of its own, which is ended when an answer takes too long.

    Args:
        requires_box: Whether an answer without ``\boxed{…}`` counts as none.
        timeout_seconds: Seconds for each answer.
        unreadable: A key of `drpt.rewards.references.UNREADABLE`: what becomes of examples whose reference is no mathematics.

    Raises:
        ValueError: A value breaks its rule, or math-verify is not installed.
    """

    needs_reference = True

    def __init__(self, *, requires_box: bool, timeout_seconds: float, unreadable: str) -> None:
        check_interval("timeout_seconds", timeout_seconds, low=0, is_low_included=False, meaning="seconds for each answer")
        check_choice("unreadable", unreadable, UNREADABLE)
        self.unreadable = unreadable
        self._requires_box = requires_box
        self._judge = shared_judge(float(timeout_seconds))
        self._faults: dict[str, str | None] = {}  # by reference

    def __call__(self, answers: Sequence[Answer]) -> list[Verdict]:
        """See `drpt.rewards.reward.RewardTerm`.

        Args:
            answers: Answers in any number and order.

        Returns:
            One verdict an answer.

        Raises:
            ValueError: An example's reference is no mathematics.
        """
        return [self._verdict(answer) for answer in answers]

    def faults(self, examples: Sequence[Example]) -> list[str | None]:
        """See `drpt.rewards.references.ChecksReferences`.

        Args:
            examples: Examples with reference responses.

        Returns:
            What is wrong with each reference, as a sentence; None where nothing is.
        """
        return [self._fault(example) for example in examples]

    def _verdict(self, answer: Answer) -> Verdict:
        fault = self._fault(answer.example)
        if fault is not None:
            raise ValueError(f"{answer.example.source}: {fault}")
        outcome = self._judge.compare(answer.example.response, answer.text, requires_box=self._requires_box)
        return Verdict(value=float(outcome == "correct"), outcome=outcome, is_correct=outcome == "correct")

    def _fault(self, example: Example) -> str | None:
        reference = example.response
        if reference not in self._faults:
            found = self._judge.fault_of(reference, requires_box=self._requires_box)
            self._faults[reference] = None if found is None else f"the reference {reference[-80:]!r} {found}."
        return self._faults[reference]
