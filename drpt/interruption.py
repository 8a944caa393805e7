"""Stopping on a signal: the signal becomes an exception outside of critical sections, and the process ends within a time limit.

The command line runs every command inside `listening`. SIGTERM, SIGINT (Ctrl-C) and SIGHUP then raise `Interrupted` in the
main thread: immediately, or at the end of a critical section (`protected`). The code that writes checkpoints handles the
exception on its way up. Native code that does not return never sees a signal; therefore a watchdog thread waits
`PATIENCE_SECONDS`, saves what can be saved safely (`farewell`) and ends the process. A second Ctrl-C ends it immediately.

Signals with a handler of another library (such as submitit's, on a cluster) are passed on to it, also after the end of a
critical section.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

PATIENCE_SECONDS = 24.0  # from the signal to the emergency exit: clusters and containers kill after 30
_LAST_SECONDS = 4.0  # time limit for what the emergency exit writes
_SAME_PRESS_SECONDS = 0.4  # a SIGINT within this time is the same key press, repeated by a wrapper such as `uv run`
_AGAIN_SECONDS = 0.02  # delay before a signal is repeated whose exception a destructor swallowed
_OURS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name))
_OTHERS = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2", "SIGCONT") if hasattr(signal, name))


class Interrupted(BaseException):
    """The process received a signal to end.

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        self.words = ""  # message about where a resumed run continues; set by handlers on the way up
        super().__init__(self.signal.name)

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as shells report it."""
        return 128 + self.signal


@dataclass(frozen=True, slots=True)
class _Farewell:
    """Actions for an emergency exit, where the stack is not unwound."""

    save: Callable[[], None] | None  # writes a checkpoint (slow); called outside of critical sections only
    say: Callable[[], None]  # records the end of the run (fast)


class _Listener:
    """Signal handlers and watchdog thread of one process."""

    def __init__(self, patience_seconds: float, *, ends_process: bool) -> None:
        self._patience = patience_seconds
        self._ends_process = ends_process
        self._is_ours: set[int] = set()
        self._wakeup_before = -1
        self._unraisable_before = sys.unraisablehook
        self._lock = threading.RLock()  # held by the main thread within `protected`, and by the watchdog while it saves
        self._depth = 0
        self._received: int | None = None
        self._is_stopped_by_others = False
        self._is_acknowledged = False
        self._deferred: list[Callable[[], Any]] = []
        self._before: dict[int, Any] = {}  # Any: what signal.getsignal returns
        self.farewells: list[_Farewell] = []
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)

    @property
    def is_protected(self) -> bool:
        return self._depth > 0

    @property
    def received(self) -> int | None:
        return self._received

    @property
    def is_stopping(self) -> bool:
        return self._received is not None or self._is_stopped_by_others

    def open(self) -> None:
        # Python writes the number of every signal to this pipe immediately, whatever the main thread is doing.
        self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (*_OURS, *_OTHERS):
            handler = signal.getsignal(number)
            is_default = handler in (signal.SIG_DFL, signal.default_int_handler)
            if number in _OURS and is_default:
                new: Callable[[int, FrameType | None], None] = self._handle
            elif callable(handler) and not is_default:
                new = self._later(handler)
            else:
                continue
            self._before[number] = handler
            signal.signal(number, new)
        self._is_ours = {number for number in _OURS if signal.getsignal(number) == self._handle}
        self._unraisable_before = sys.unraisablehook
        sys.unraisablehook = self._swallowed
        threading.Thread(target=self._watch, name="interruptions", daemon=True).start()

    def close(self) -> None:
        sys.unraisablehook = self._unraisable_before
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if not (self._ends_process and self._received is not None):  # otherwise the watchdog also guards the process's end
            os.write(self._writer, b"\0")

    def enter(self) -> None:
        self._depth += 1
        if self._depth == 1:
            self._lock.acquire()

    def leave(self) -> None:
        if self._depth == 1:
            self._lock.release()
        self._depth -= 1
        if self._depth == 0:
            while self._deferred:
                self._deferred.pop(0)()
            self.check()

    def leave_all(self) -> None:
        if self._depth:
            self._lock.release()
        self._depth = 0

    def check(self) -> None:
        if self._received is not None and not self._is_acknowledged:
            raise Interrupted(self._received)

    def acknowledge(self) -> None:
        self._is_acknowledged = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            return  # the watchdog handles a second Ctrl-C
        self._received = number
        if self._depth == 0:
            raise Interrupted(number)

    def _swallowed(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Repeat the signal when its exception was raised in a destructor, where Python drops exceptions."""
        if not isinstance(unraisable.exc_value, Interrupted):
            self._unraisable_before(unraisable)
        elif self._received is not None and not self._is_acknowledged:
            number, self._received = self._received, None
            threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number)).start()

    def _later(self, handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
        def pass_on(number: int, frame: FrameType | None) -> None:
            try:
                handler(number, frame)
            except BaseException:
                self._is_stopped_by_others = True
                raise

        def handle(number: int, frame: FrameType | None) -> None:
            if self._depth:
                self._deferred.append(lambda: pass_on(number, frame))
            else:
                pass_on(number, frame)

        return handle

    def _watch(self) -> None:
        first: int | None = None
        began = 0.0
        while True:
            left = None if first is None else max(0.0, began + self._patience - time.monotonic())
            ready, _, _ = select.select([self._reader], [], [], left)
            if not ready:
                assert first is not None
                self._end(first, saves=True)
            for number in os.read(self._reader, 64) if ready else b"":
                if number == 0:
                    os.close(self._reader)
                    os.close(self._writer)
                    return
                if number not in self._is_ours:
                    continue
                if first is None:
                    first, began = number, time.monotonic()
                elif number == signal.SIGINT and time.monotonic() - began > _SAME_PRESS_SECONDS:
                    self._end(number, saves=False)

    def _end(self, number: int, *, saves: bool) -> None:
        def say_farewell() -> None:
            for farewell in reversed(self.farewells):
                if saves and farewell.save is not None and self._lock.acquire(timeout=_LAST_SECONDS / 2):
                    with suppress(BaseException):
                        farewell.save()
                    # The lock is not released: the main thread must not change anything from here on.
                with suppress(BaseException):
                    farewell.say()

        thread = threading.Thread(target=say_farewell, daemon=True)
        thread.start()
        thread.join(_LAST_SECONDS)
        os._exit(128 + number)


_active: _Listener | None = None


@contextmanager
def listening(*, patience_seconds: float | None = None, ends_process: bool = False) -> Iterator[None]:
    """Handle signals in the body. Nested uses have no effect, nor have uses outside the main thread.

    Args:
        patience_seconds: Longest time from a signal to the end of the process; default: `PATIENCE_SECONDS`.
        ends_process: Whether the process ends after the body; the watchdog then also guards the interpreter's shutdown.

    Yields:
        Nothing.
    """
    global _active
    if _active is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    patience = PATIENCE_SECONDS if patience_seconds is None else patience_seconds
    _active = _Listener(patience, ends_process=ends_process)
    _active.open()
    try:
        yield
    finally:
        listener, _active = _active, None
        listener.close()


@contextmanager
def protected() -> Iterator[None]:
    """A critical section: a signal that arrives inside raises `Interrupted` at its end.

    Yields:
        Nothing.

    Raises:
        Interrupted: A signal arrived.
    """
    begin_protected()
    try:
        yield
    finally:
        end_protected()


def begin_protected() -> None:
    """Begin a critical section; for sections that begin and end in different functions. Otherwise use `protected`."""
    if (listener := _of_this_thread()) is not None:
        listener.enter()


def end_protected() -> None:
    """End a critical section that `begin_protected` began.

    Raises:
        Interrupted: A signal arrived inside the section.
    """
    if (listener := _of_this_thread()) is not None and listener.is_protected:
        listener.leave()


def leave_protected() -> None:
    """End all critical sections at once, after an error inside one of them."""
    if (listener := _of_this_thread()) is not None:
        listener.leave_all()


def is_protected() -> bool:
    """Whether the calling thread is in a critical section."""
    listener = _of_this_thread()
    return listener is not None and listener.is_protected


def acknowledge() -> None:
    """Note that the exception was handled, so that it is not raised again."""
    if (listener := _of_this_thread()) is not None:
        listener.acknowledge()


def told() -> Interrupted | None:
    """The signal that arrived, even if its exception was lost or replaced by another one; None if there was no signal."""
    listener = _of_this_thread()
    return None if listener is None or listener.received is None else Interrupted(listener.received)


def is_stopping() -> bool:
    """Whether a signal is ending the process: one handled here, or one whose own handler raised an exception."""
    listener = _of_this_thread()
    return listener is not None and listener.is_stopping


def is_listening() -> bool:
    """Whether `listening` is active in this thread."""
    return _of_this_thread() is not None


@contextmanager
def farewell(*, say: Callable[[], None], save: Callable[[], None] | None = None) -> Iterator[None]:
    """Register what an emergency exit does while the body runs.

    Args:
        say: Fast function that records the end of the run.
        save: Slow function that writes a checkpoint. It is called from another thread, outside of critical sections only.

    Yields:
        Nothing.
    """
    listener = _of_this_thread()
    if listener is None:
        yield
        return
    listener.farewells.append(_Farewell(save, say))
    try:
        yield
    finally:
        listener.farewells.pop()


def _of_this_thread() -> _Listener | None:
    return _active if threading.current_thread() is threading.main_thread() else None
