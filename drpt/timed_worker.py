"""A process of its own for what cannot be trusted to end, or not to take the machine's memory: asked in lines of JSON.

`drpt.rewards.math_judge` (sympy) and `drpt.data.reasoning_scores` (reasoning-gym's scorers) are such processes, run as modules
that call `serve`. One process answers all questions, one after the other; a question that takes too long ends it, and the next
question starts another. It does not hear the signals that stop a run (`drpt.interruption`): whoever asks may still need it to
come to a place where nothing is half done. It ends when whoever asks does, even if killed: its input ends then, and a
question in progress ends at its alarm.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

TIMED_OUT = "timed_out"
CRASHED = "crashed"
_START_SECONDS = 60.0  # importing what is asked takes a second or two, more on a busy machine
_MAX_BYTES = 4 * 2**30  # of the process's address space: a number beyond it fails, and the machine goes on


class TimedWorker:
    """Asks a process, each question within a time. One thread at a time may ask.

    Args:
        module: The module to run; it calls `serve`.
        timeout_seconds: Seconds for each question.
    """

    def __init__(self, module: str, timeout_seconds: float) -> None:
        self._module = module
        self._timeout_seconds = timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0  # number of the process that started it: a fork has its pipes, and must not use them
        # Ends the process, at the latest when nothing refers to this object any more, or the program ends.
        self._end: Callable[[], object] = lambda: None

    @property
    def process_id(self) -> int | None:
        """The number of the process that runs now, or ran last; None before the first question."""
        return None if self._process is None else self._process.pid

    def ask(self, question: Mapping[str, Any], *, seconds: float | None = None) -> Any:  # Any: JSON values
        """Ask one question.

        Args:
            question: What JSON can hold.
            seconds: Seconds for this question; None for those of every question.

        Returns:
            The answer of the module's handler; `TIMED_OUT`, or `CRASHED` where the process died of the question twice, as when
            it runs out of memory.

        Raises:
            RuntimeError: The process does not start.
        """
        seconds = self._timeout_seconds if seconds is None else seconds
        answer = self._ask(question, seconds)
        # Once may have been another's doing: the process was ended from outside.
        return self._ask(question, seconds) if answer == CRASHED else answer

    def start(self) -> None:
        """Start the process, should none run, so that the first question does not wait for it.

        Raises:
            RuntimeError: The process does not start.
        """
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            self._end()
            self._owner = os.getpid()
            # No thread pools and no device for a process that compares fractions; the same modules as here, wherever it starts,
            # and none that happen to lie in the current folder (-P).
            path = os.pathsep.join(place or os.getcwd() for place in sys.path)
            environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}
            command = [sys.executable, "-P", "-m", self._module, str(_START_SECONDS + 2 * self._timeout_seconds)]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                process_group=0,  # Ctrl-C in a terminal goes to a whole group
            )
            self._end = weakref.finalize(self, _end, self._process, self._owner)
            if _reply(self._process, _START_SECONDS) != "ready":
                self._end()
                raise RuntimeError(f'a process does not start: try `{" ".join(command)}`, which should print "ready".')

    def close(self) -> None:
        """End the process; the next question would start another."""
        self._end()

    def _ask(self, question: Mapping[str, Any], seconds: float) -> Any:
        self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            answer: Any = CRASHED
        else:
            answer = _reply(self._process, seconds)
        if answer in (TIMED_OUT, CRASHED):
            self._end()
        return answer


def _reply(process: "subprocess.Popen[bytes]", seconds: float) -> Any:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(seconds):
            return TIMED_OUT
    line = process.stdout.readline()
    try:
        return json.loads(line) if line else CRASHED
    except ValueError:  # it died while it wrote
        return CRASHED


def _end(process: "subprocess.Popen[bytes]", owner: int) -> None:
    if owner != os.getpid():
        return
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(BrokenPipeError):  # of what it had not read when it died
            pipe.close()


def serve(handle: Callable[[Mapping[str, Any]], Any], prepare: Callable[[], object]) -> None:
    """Answer questions on standard input until it ends; to be called by a module that is run.

    The first argument of the command line is the number of seconds after which a question ends the process, in case whoever
    asked is not there any more to do so.

    Args:
        handle: Answers one question.
        prepare: Imports what the answers need, before the first question's time begins.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _limit_memory()
    # What others print must not be taken for an answer.
    answers, sys.stdout = os.fdopen(os.dup(1), "w"), sys.stderr
    os.dup2(2, 1)
    prepare()
    answers.write('"ready"\n')
    answers.flush()
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))
        answer = json.dumps(handle(json.loads(line)))
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(answer + "\n")
        answers.flush()


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):  # where the system knows no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MAX_BYTES, _MAX_BYTES))
