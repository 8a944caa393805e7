"""A separate process for code that may not terminate or may exhaust memory; requests and answers are JSON lines.

`drpt.rewards.math_judge` (sympy) and `drpt.data.reasoning_scores` (reasoning-gym's scorers) are such workers: modules that
call `serve`. One process answers all requests in turn. A request that takes too long ends the process, and the next request
starts a new one. The worker ignores the signals that stop a run (`drpt.interruption`), since its client may need answers until
the end of a critical section. It ends with its client, even if that is killed: its input is closed then, and an alarm ends a
request in progress.
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
_START_SECONDS = 60.0  # time limit for imports, which take a second or two on an idle machine
_MAX_BYTES = 4 * 2**30  # limit of the worker's address space, so that huge numbers fail without exhausting the machine


class TimedWorker:
    """Client of a worker process, with a time limit for each request. Only one thread at a time may use it.

    Args:
        module: Name of the module to run, which must call `serve`.
        timeout_seconds: Time limit of a request, in seconds.
    """

    def __init__(self, module: str, timeout_seconds: float) -> None:
        self._module = module
        self._timeout_seconds = timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0  # id of the process that started the worker: a fork inherits the pipes and must not use them
        # Ends the worker, at the latest when this object is garbage-collected or the program ends.
        self._end: Callable[[], object] = lambda: None

    @property
    def process_id(self) -> int | None:
        """Id of the current or last worker process; None before the first request."""
        return None if self._process is None else self._process.pid

    def ask(self, question: Mapping[str, Any], *, seconds: float | None = None) -> Any:  # Any: JSON values
        """Send one request and wait for its answer.

        Args:
            question: Request as a JSON object.
            seconds: Time limit of this request, in seconds; default: that of the constructor.

        Returns:
            The answer of the module's handler; `TIMED_OUT`; or `CRASHED` if the request ended the process twice, such as by
            running out of memory.

        Raises:
            RuntimeError: The process does not start.
        """
        seconds = self._timeout_seconds if seconds is None else seconds
        answer = self._ask(question, seconds)
        # A first crash may have another cause, such as a kill from outside.
        return self._ask(question, seconds) if answer == CRASHED else answer

    def start(self) -> None:
        """Start the process unless it is running, so that the first request does not wait for it.

        Raises:
            RuntimeError: The process does not start.
        """
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            self._end()
            self._owner = os.getpid()
            # The worker needs neither thread pools nor a GPU. It imports the same modules as this process, and none from the
            # current folder by accident (-P).
            path = os.pathsep.join(place or os.getcwd() for place in sys.path)
            environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}
            command = [sys.executable, "-P", "-m", self._module, str(_START_SECONDS + 2 * self._timeout_seconds)]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                process_group=0,  # a group of its own: Ctrl-C in a terminal goes to the whole foreground group
            )
            self._end = weakref.finalize(self, _end, self._process, self._owner)
            if _reply(self._process, _START_SECONDS) != "ready":
                self._end()
                raise RuntimeError(f'A worker process does not start: try `{" ".join(command)}`, which should print "ready".')

    def close(self) -> None:
        """End the process; another request would start a new one."""
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
    except ValueError:  # the worker died while writing
        return CRASHED


def _end(process: "subprocess.Popen[bytes]", owner: int) -> None:
    if owner != os.getpid():
        return
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(BrokenPipeError):  # the worker died before reading all of its input
            pipe.close()


def serve(handle: Callable[[Mapping[str, Any]], Any], prepare: Callable[[], object]) -> None:
    """Answer requests from standard input until it ends; called by the worker's main module.

    The first command-line argument is the number of seconds after which a request ends the process, in case the client no
    longer exists to do so.

    Args:
        handle: Function that answers one request.
        prepare: Function that imports what the answers need, before the time of the first request begins.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _limit_memory()
    # Redirect standard output, so that nothing printed by a library is taken for an answer.
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
    with suppress(ImportError, ValueError, OSError):  # systems without such a limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MAX_BYTES, _MAX_BYTES))
