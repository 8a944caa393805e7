"""math-verify in a process of its own, started anew when it has to be ended.

Run as a module, this file is that process: a line of JSON in, a line of JSON out.
"""

import json
import os
import selectors
import subprocess
import sys
import weakref
from importlib.util import find_spec

_START_SECONDS = 60.0  # importing sympy takes a second or two, more on a busy machine


class Judge:
    """Compares answers with references, each within a time.

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

    def compare(self, reference: str, answer: str) -> str:
        """What there is to say of an answer.

        Args:
            reference: The right one.
            answer: Any text.

        Returns:
            ``correct``, ``wrong``, ``unparsable`` (no mathematics found in it) or ``timed_out``.
        """
        process = self._running()
        outcome = self._exchange(process, [reference, answer], self._timeout_seconds)
        if outcome is None:
            _end(process)
            self._process = None
            return "timed_out"
        return outcome

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            # No thread pools and no device for a process that compares fractions.
            environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
            command = [sys.executable, "-m", __name__]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
            )
            weakref.finalize(self, _end, self._process)
            if self._exchange(self._process, ["1", "1"], _START_SECONDS) != "correct":
                _end(self._process)
                raise RuntimeError(f'math-verify does not start: try `{" ".join(command)}` and type ["1", "1"].')
        return self._process

    def _exchange(self, process: "subprocess.Popen[bytes]", pair: list[str], seconds: float) -> str | None:
        """The process's answer; None where it is late or has died."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(pair).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            return None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return None
        line = process.stdout.readline()
        return str(json.loads(line)) if line else None


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _serve() -> None:
    from math_verify import parse, verify

    for line in sys.stdin:
        reference, answer = json.loads(line)
        # Its own time-outs are signals in whole seconds, which a long multiplication does not hear.
        found = parse(answer, parsing_timeout=None)
        if not found:
            outcome = "unparsable"
        else:
            gold = parse(reference, parsing_timeout=None)
            outcome = "correct" if gold and verify(gold, found, timeout_seconds=None) else "wrong"
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
