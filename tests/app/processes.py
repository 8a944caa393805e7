"""Runs in processes of their own, which can be hurt; forked from one that has imported everything, each starts at once."""

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.app.preload"])


@dataclass
class Command:
    """One `drpt …` under way, or ended."""

    process: multiprocessing.process.BaseProcess
    log: Path

    @property
    def text(self):
        return self.log.read_text(errors="replace")

    def wait(self, seconds=240):
        """The exit status as a shell tells it."""
        self.process.join(seconds)
        assert not self.process.is_alive(), f"still alive after {seconds} s: {self.text[-2000:]}"
        code = self.process.exitcode
        return 128 - code if code < 0 else code

    def send(self, number):
        if self.process.is_alive():
            os.kill(self.process.pid, number)

    def wait_until(self, condition, seconds=120):
        """Whether the condition came true before the command ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return True
            if not self.process.is_alive():
                return condition()
            time.sleep(0.002)
        raise AssertionError(f"never got there: {self.text[-2000:]}")


def begin(folder, *words, prepare=None):
    """Give a command in a folder.

    Args:
        folder: Made if needed.
        *words: After `drpt`.
        prepare: Called first in the new process, picklable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"log-{time.monotonic_ns()}.txt"
    log.touch()
    process = _CONTEXT.Process(target=_child, args=(str(folder), words, str(log), prepare))
    with chdir(ROOT):  # where the process to fork from finds its imports when it starts
        process.start()
    return Command(process, log)


def warm_up():
    """Start the process that all are forked from, which imports everything, before time counts."""
    with tempfile.TemporaryDirectory(prefix="drpt-warm-") as folder:
        status, text = run(Path(folder), "--version")
    assert status == 0, text


def run(folder, *words, prepare=None):
    """Give a command and wait for it: status and text."""
    command = begin(folder, *words, prepare=prepare)
    return command.wait(), command.text


def _child(folder, words, log, prepare):
    from drpt.app.cli import main

    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(handle, stream)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A tracker of the tests' own process would hold what a killed child has left.
    os.environ.pop("WANDB_SERVICE", None)
    os.chdir(folder)
    sys.argv = ["drpt", *words]
    if prepare is not None:
        prepare()
    main()
