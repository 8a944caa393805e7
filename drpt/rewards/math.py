r"""A reward for mathematically correct answers: ``\boxed{1/2}`` equals 0.5.

`drpt.rewards.mathematics` reads answers and decides equality: numbers exactly and by its own rules, other expressions with
math-verify (Kydlíček et al. 2025, Hugging Face) and sympy.
"""

from collections.abc import Sequence

from drpt.checks import check_choice, check_interval
from drpt.data.example import Example
from drpt.rewards.math_judge import shared_judge
from drpt.rewards.references import UNREADABLE
from drpt.rewards.reward import Answer, Verdict


class MathReward:
    r"""1 if the answer equals the example's reference, else 0; the outcome distinguishes time-outs from wrong answers.

    Reference and answer are read by the same rules. The last ``\boxed{…}`` or ``\fbox{…}`` counts; without a box, the text
    after GSM8K's ``####``; then the whole text if it is an expression; then the text after "the answer is"; then the last
    formula or number, or the last side of an equation. "The answer is 8!" means 8, and ``\boxed{8!}`` a factorial.

    A known unit may be missing, number words are read (``5 million``), and other letters beside a number are variables
    (``3R^2``). Answers are compared in a separate process, which is killed if a comparison takes too long.

    Args:
        requires_box: Whether only answers in ``\boxed{…}`` count.
        timeout_seconds: Time limit for each answer, in seconds.
        unreadable: What to do with examples whose reference is not mathematics, a key of
            `drpt.rewards.references.UNREADABLE`.

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
        """Judge answers; raises ValueError for an example whose reference is not mathematics."""
        return [self._verdict(answer) for answer in answers]

    def faults(self, examples: Sequence[Example]) -> list[str | None]:
        """See `drpt.rewards.references.ChecksReferences.faults`."""
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
