r"""Mathematical answers, compared as mathematics: ``\boxed{1/2}`` is 0.5. Judged by math-verify.

Source: math-verify (Kydlíček et al. 2025, Hugging Face).
"""

import re
from collections.abc import Sequence

from drpt.checks import check_interval
from drpt.rewards.math_judge import Judge
from drpt.rewards.reward import Answer, Verdict

_BOX = "\\boxed{"
_FINAL = re.compile(r"####\s*(.+?)\s*$")  # GSM8K's mark of the final answer
_COMMAND = re.compile(r"\\(?:text|textbf|mathrm|mbox)\{[^{}]*\}|\\[a-zA-Z]+")
_PROSE = re.compile(r"[^\W\d_]{2,}|[$%\n]")  # a word, or a sign that math-verify reads by rules of its own
_NUMBER = re.compile(r"[-+]?[\d.,\s]+(?:/[\d.,\s]+)?")
_TUPLE = re.compile(r"(?:\(|\[|\\\{).*,.*(?:\)|\]|\\\})")


class MathReward:
    r"""1 where the answer equals the example's reference, else 0; what cannot be judged in time is counted apart from wrong.

    Of a text, the last ``\boxed{…}`` counts; without one, what math-verify takes for the answer: the expression after words
    such as "the answer is", else the last one, and of an equation its right-hand side. A tuple, interval or set that is the
    whole text counts as such. A reference is read in the same way, and GSM8K's ends after ``####``; one that is nothing but
    a formula, ``2x+1`` or ``\frac{1}{2}``, counts as a whole.

    Judging runs in a process of its own, which is ended when an answer takes too long: what sympy does with ``9**9**9**9``
    nothing else can interrupt.

    Args:
        requires_box: Whether an answer without ``\boxed{…}`` counts as none.
        timeout_seconds: For each answer.

    Raises:
        ValueError: A value breaks its rule, or math-verify is not installed.
    """

    needs_reference = True

    def __init__(self, *, requires_box: bool, timeout_seconds: float) -> None:
        check_interval("timeout_seconds", timeout_seconds, low=0, is_low_included=False, meaning="seconds for each answer")
        self._requires_box, self._timeout_seconds = requires_box, timeout_seconds
        self._judge = Judge(timeout_seconds)
        self._references: dict[str, bool] = {}  # by text: whether it can be read

    def __call__(self, answers: Sequence[Answer]) -> list[Verdict]:
        """See `drpt.rewards.reward.RewardTerm`.

        Args:
            answers: In any number and order.

        Returns:
            One verdict an answer.

        Raises:
            ValueError: An example's reference is no mathematics.
        """
        return [self._verdict(answer) for answer in answers]

    def _verdict(self, answer: Answer) -> Verdict:
        reference = _reference(answer.example.response)
        self._require_readable(reference, answer)
        text = _boxed(answer.text)
        if text is None:
            if self._requires_box:
                return Verdict(value=0.0, outcome="unboxed", is_correct=False)
            text = _in_box(answer.text) if _TUPLE.fullmatch(answer.text.strip()) else answer.text
        outcome = self._judge.compare(reference, text)
        return Verdict(value=float(outcome == "correct"), outcome=outcome, is_correct=outcome == "correct")

    def _require_readable(self, reference: str, answer: Answer) -> None:
        if reference not in self._references:
            self._references[reference] = self._judge.compare(reference, reference) == "correct"
        if not self._references[reference]:
            raise ValueError(
                f"{answer.example.source}: the reference {answer.example.response[-80:]!r} cannot be read as mathematics "
                f"within timeout_seconds={self._timeout_seconds:g}. Take reward=exact, or leave the example out."
            )


def _reference(text: str) -> str:
    box = _boxed(text)
    if box is not None:
        return box
    final = _FINAL.search(text)
    answer = final.group(1) if final else text.strip()
    is_formula = not _NUMBER.fullmatch(answer) and not _PROSE.search(_COMMAND.sub("", answer))
    # Outside of formulas math-verify takes numbers alone: of 2x+1 the 2.
    return _in_box(answer) if is_formula else answer


def _in_box(text: str) -> str:
    return f"{_BOX}{text.strip()}}}"


def _boxed(text: str) -> str | None:
    r"""The last ``\boxed{…}``, braces balanced; None without one, or where it does not end."""
    start = text.rfind(_BOX)
    if start < 0:
        return None
    depth = 0
    for place in range(start + len(_BOX) - 1, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start : place + 1]
    return None
