"""math-verify in a process of its own, started anew when it has to be ended.

Run as a module, this file is that process: a line of JSON in, a line of JSON out.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec

_START_SECONDS = 60.0  # importing sympy takes a second or two, more on a busy machine
_READY = ["$1$", "$1$"]  # a formula, so that the grammar of LaTeX is loaded before an answer's time begins


class Judge:
    """Compares answers with references, each within a time. One thread at a time may ask.

    Args:
        timeout_seconds: For each comparison.

    Raises:
        ValueError: math-verify is not installed.
    """

    def __init__(self, timeout_seconds: float) -> None:
        if find_spec("math_verify") is None:
            raise ValueError("math-verify is not installed, which judges mathematical answers: run `make install`.")
        self._timeout_seconds = timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None
        # Ends the process, at the latest when nothing refers to this object any more.
        self._end: Callable[[], object] = lambda: None

    def compare(self, reference: str, answer: str) -> str:
        """What there is to say of an answer.

        Args:
            reference: The right one.
            answer: Any text.

        Returns:
            ``correct``, ``wrong``, ``unparsable`` (no mathematics found in it), ``timed_out``, or ``crashed``: the process
            died of it twice, as when it runs out of memory.
        """
        outcome = self._ask(reference, answer)
        # Once may have been another's doing: the process was ended from outside.
        return self._ask(reference, answer) if outcome == "crashed" else outcome

    def _ask(self, reference: str, answer: str) -> str:
        process = self._running()
        outcome = _exchange(process, [reference, answer], self._timeout_seconds)
        if outcome in {"timed_out", "crashed"}:
            self._end()
        return outcome

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self._end()
            # No thread pools and no device for a process that compares fractions.
            environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
            command = [sys.executable, "-m", __name__, str(_START_SECONDS + 2 * self._timeout_seconds)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
            )
            self._end = weakref.finalize(self, _end, self._process)
            if _exchange(self._process, _READY, _START_SECONDS) != "correct":
                self._end()
                raise RuntimeError(f"math-verify does not start: try `{' '.join(command)}` and type {json.dumps(_READY)}.")
        return self._process


def _exchange(process: "subprocess.Popen[bytes]", pair: list[str], seconds: float) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(pair).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        return "crashed"
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(seconds):
            return "timed_out"
    line = process.stdout.readline()
    return str(json.loads(line)) if line else "crashed"


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(BrokenPipeError):  # of what it had not read when it died
            pipe.close()


def _serve(alarm_seconds: float) -> None:
    for line in sys.stdin:
        # Should whoever asks be killed, nobody else would end a comparison that takes for ever; the system's alarm does.
        signal.setitimer(signal.ITIMER_REAL, alarm_seconds)
        reference, answer = json.loads(line)
        try:
            outcome = _compare(reference, answer)
        except (ArithmeticError, AttributeError, LookupError, NotImplementedError, RecursionError, TypeError, ValueError):
            outcome = "unparsable"  # sympy gives up in many ways
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()
        signal.setitimer(signal.ITIMER_REAL, 0)


def _compare(reference: str, answer: str) -> str:
    from math_verify import parse, verify

    # Its own time-outs are signals in whole seconds, which a long multiplication does not hear.
    found = parse(answer, parsing_timeout=None)
    if not found:
        return "unparsable"
    gold = parse(reference, parsing_timeout=None)
    return "correct" if gold and verify(gold, found, timeout_seconds=None) else "wrong"


if __name__ == "__main__":
    _serve(float(sys.argv[1]))
