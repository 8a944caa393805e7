r"""Mathematical answers judged in a process of its own: what sympy does with some of them nothing else can interrupt.

Run as a module, this file is that process; see `drpt.timed_worker`.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from drpt.timed_worker import CRASHED, TIMED_OUT, TimedWorker, serve


class Judge:
    """Compares answers with references, each within a time. One thread at a time may ask.

    Args:
        timeout_seconds: Seconds for each comparison.

    Raises:
        ValueError: math-verify is not installed.
    """

    def __init__(self, timeout_seconds: float) -> None:
        if find_spec("math_verify") is None:
            raise ValueError("math-verify is not installed, which reads mathematical answers: run `make install`.")
        self.worker = TimedWorker(__name__, timeout_seconds)

    def compare(self, reference: str, answer: str, *, requires_box: bool = False) -> str:
        r"""Judge an answer.

        Args:
            reference: The reference response.
            answer: Any text.
            requires_box: Whether only an answer in ``\boxed{…}`` counts.

        Returns:
            ``correct``, ``wrong``, ``unboxed``, ``unparsable`` (no mathematics found in it), ``timed_out``, or ``crashed``: the
            process died of it twice, as when it runs out of memory.
        """
        return str(self.worker.ask({"reference": reference, "answer": answer, "requires_box": requires_box}))

    def fault_of(self, reference: str, *, requires_box: bool) -> str | None:
        r"""Judge a reference response against itself, in every form that an answer takes.

        Args:
            reference: The reference response.
            requires_box: Whether only an answer in ``\boxed{…}`` counts.

        Returns:
            What is wrong with it, as the end of a sentence about it; None if nothing is.
        """
        found = self.worker.ask({"reference": reference, "requires_box": requires_box})
        if found in {TIMED_OUT, CRASHED}:
            return "takes too long to be compared with itself"
        return None if found is None else str(found)


@lru_cache(maxsize=4)
def shared_judge(timeout_seconds: float) -> Judge:
    """The one such process of this program: importing sympy takes seconds, and the check of references needs it, too.

    Args:
        timeout_seconds: See `Judge`.

    Returns:
        The same object for the same time.

    Raises:
        ValueError: math-verify is not installed.
    """
    return Judge(timeout_seconds)


def _handle(question: Mapping[str, Any]) -> str | None:
    from drpt.rewards.mathematics.answer import find_answer
    from drpt.rewards.mathematics.equality import equal
    from drpt.rewards.mathematics.formulas import FAILURES

    requires_box = question["requires_box"]
    try:
        # A reference is the last box where there is one, whatever answers need.
        reference = find_answer(question["reference"], requires_box=False)
        if "answer" not in question:
            return "cannot be read as mathematics" if reference is None else _fault(question["reference"], requires_box)
        if requires_box and not _has_box(question["answer"]):
            return "unboxed"
        answer = find_answer(question["answer"], requires_box=requires_box)
        if answer is None:
            return "unparsable"
        return "correct" if reference is not None and equal(reference[0], answer[0]) else "wrong"
    except FAILURES:  # sympy gives up in many ways
        return "unparsable" if "answer" in question else "cannot be compared with itself"


def _has_box(text: str) -> bool:
    from drpt.rewards.mathematics.signs import last_box, plain_signs

    return last_box(plain_signs(text)) is not None


def _fault(reference: str, requires_box: bool) -> str | None:
    from drpt.rewards.mathematics.answer import find_answer
    from drpt.rewards.mathematics.equality import equal

    found = find_answer(reference, requires_box=False)
    assert found is not None
    for form in forms_of(reference, requires_box=requires_box):
        answer = find_answer(form, requires_box=requires_box)
        if answer is None or not equal(found[0], answer[0]):
            return f"is not judged equal to itself in the form {form[-80:]!r}"
    return None


def forms_of(reference: str, *, requires_box: bool) -> Iterator[str]:
    r"""A reference in the forms that an answer takes: bare, in a box, in a formula, in a sentence, after ``####``.

    Args:
        reference: A reference response that can be read.
        requires_box: Whether only an answer in ``\boxed{…}`` counts.

    Yields:
        Texts of answers.
    """
    from drpt.rewards.mathematics.answer import find_answer
    from drpt.rewards.mathematics.signs import CURRENCY
    from drpt.rewards.mathematics.values import Words

    found = find_answer(reference, requires_box=False)
    assert found is not None
    value, core = found[0], " ".join(found[1].split())
    formula = value.source.replace(CURRENCY, "\\$")
    if isinstance(value, Words) and "\\text" not in core:  # outside of a box a bare word is prose
        core = formula = value.source if "\\text" in value.source else f"\\text{{{value.source}}}"
    yield f"\\boxed{{{core}}}"
    yield f"Therefore it is $\\boxed{{{formula}}}$."
    if requires_box:
        return
    yield reference
    yield core
    yield f"${formula}$"
    yield f"The answer is {core}."
    yield f"The answer is ${formula}$."
    yield f"We get there in steps.\n#### {core}"


def _prepare() -> None:
    import logging

    logging.disable(logging.CRITICAL)  # math-verify warns of time limits that are kept elsewhere
    # A formula, so that the grammar of LaTeX is loaded.
    _handle({"reference": "\\boxed{\\sqrt{x}}", "answer": "$\\sqrt{x}$", "requires_box": False})


if __name__ == "__main__":
    serve(_handle, _prepare)
