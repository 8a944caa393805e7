r"""Compares mathematical answers in a separate process with a time limit, since sympy can run for an unbounded time.

Run as a module, this file is that process; see `drpt.timed_worker`.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from drpt.timed_worker import CRASHED, TIMED_OUT, TimedWorker, serve


class Judge:
    """Compares answers with references under a time limit. Not thread-safe.

    Args:
        timeout_seconds: Time limit for each comparison, in seconds.

    Raises:
        ValueError: math-verify is not installed.
    """

    def __init__(self, timeout_seconds: float) -> None:
        if find_spec("math_verify") is None:
            raise ValueError("math-verify, which reads mathematical answers, is not installed: run `make install`.")
        self.worker = TimedWorker(__name__, timeout_seconds)

    def compare(self, reference: str, answer: str, *, requires_box: bool = False) -> str:
        r"""Compare an answer with a reference.

        Args:
            reference: Reference response.
            answer: Text of the answer.
            requires_box: Whether only an answer in ``\boxed{…}`` counts.

        Returns:
            ``correct``, ``wrong``, ``unboxed``, ``unparsable`` (the answer has no mathematics), ``timed_out``, or ``crashed``
            (the process died twice, for example because it ran out of memory).
        """
        return str(self.worker.ask({"reference": reference, "answer": answer, "requires_box": requires_box}))

    def fault_of(self, reference: str, *, requires_box: bool) -> str | None:
        r"""Check that a reference response equals itself in every form that an answer can take.

        Args:
            reference: Reference response.
            requires_box: Whether only an answer in ``\boxed{…}`` counts.

        Returns:
            Predicate of a sentence that says what is wrong with the reference; None if nothing is.
        """
        found = self.worker.ask({"reference": reference, "requires_box": requires_box})
        if found in {TIMED_OUT, CRASHED}:
            return "takes too long to be compared with itself"
        return None if found is None else str(found)


@lru_cache(maxsize=4)
def shared_judge(timeout_seconds: float) -> Judge:
    """The judge shared by rewards and the check of references, since importing sympy takes seconds.

    Args:
        timeout_seconds: Time limit for each comparison, in seconds.

    Returns:
        The same object for the same time limit.

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
        # In a reference the last box counts, but none is required, whatever is required of answers.
        reference = find_answer(question["reference"], requires_box=False)
        if "answer" not in question:
            return "cannot be read as mathematics" if reference is None else _fault(question["reference"], requires_box)
        if requires_box and not _has_box(question["answer"]):
            return "unboxed"
        answer = find_answer(question["answer"], requires_box=requires_box)
        if answer is None:
            return "unparsable"
        return "correct" if reference is not None and equal(reference[0], answer[0]) else "wrong"
    except FAILURES:  # sympy fails with many types of errors
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
    r"""A reference in the forms that an answer can take: bare, in a box, in a formula, in a sentence, after ``####``.

    Args:
        reference: Reference response that can be read.
        requires_box: Whether only an answer in ``\boxed{…}`` counts.

    Yields:
        Answers that equal the reference.
    """
    from drpt.rewards.mathematics.answer import find_answer
    from drpt.rewards.mathematics.signs import CURRENCY
    from drpt.rewards.mathematics.values import Words

    found = find_answer(reference, requires_box=False)
    assert found is not None
    value, core = found[0], " ".join(found[1].split())
    formula = value.source.replace(CURRENCY, "\\$")
    if isinstance(value, Words) and "\\text" not in core:  # outside a box, a bare word is prose
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

    logging.disable(logging.CRITICAL)  # math-verify warns that its own time limits are off
    # Read one formula, to load the LaTeX grammar.
    _handle({"reference": "\\boxed{\\sqrt{x}}", "answer": "$\\sqrt{x}$", "requires_box": False})


if __name__ == "__main__":
    serve(_handle, _prepare)
