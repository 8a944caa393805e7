"""Being told to stop: a signal becomes an exception where nothing is half done, and the process ends in time.

The command line opens `listening` around every command. Then SIGTERM, SIGINT (Ctrl-C) and SIGHUP raise `Interrupted` in the
main thread: at once, or, within `protected`, at its end. Whoever writes a checkpoint meets the exception on its way up. A
thread watches the clock meanwhile, since native code that does not return hears no signal: after `PATIENCE_SECONDS` it
writes what can be written safely (`farewell`) and ends the process. A second Ctrl-C ends it at once.

Signals that somebody else listens to (submitit's, on a cluster) go on to them, and within `protected` wait for its end, too.
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
_LAST_SECONDS = 4.0  # for what the emergency exit writes
_SAME_PRESS_SECONDS = 0.4  # wrappers such as `uv run` send Ctrl-C again that the terminal sends to all
_AGAIN_SECONDS = 0.02  # until a destructor that has swallowed the exception is through
_OURS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name))
_OTHERS = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2", "SIGCONT") if hasattr(signal, name))


class Interrupted(BaseException):
    """The process was told to end.

    Args:
        number: The signal's number.
    """

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        self.words = ""  # where a resume goes on; filled in on the way up
        super().__init__(self.signal.name)

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as a shell counts."""
        return 128 + self.signal


@dataclass(frozen=True, slots=True)
class _Farewell:
    """What is left to do where a process ends without unwinding."""

    save: Callable[[], None] | None  # slow; only where nothing is half done
    say: Callable[[], None]  # fast


class _Listener:
    """The signals of one process, as its main thread sees them."""

    def __init__(self, patience_seconds: float, *, ends_process: bool) -> None:
        self._patience = patience_seconds
        self._ends_process = ends_process
        self._is_ours: set[int] = set()
        self._wakeup_before = -1
        self._unraisable_before = sys.unraisablehook
        self._lock = threading.RLock()  # held by the main thread within `protected`, by the watch while it saves
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
        # Python writes the number of every signal there at once, whatever the main thread is doing.
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
        if not (self._ends_process and self._received is not None):  # then its end is watched over, too
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
            return  # a second Ctrl-C is the watch's
        self._received = number
        if self._depth == 0:
            raise Interrupted(number)

    def _swallowed(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Python drops what is raised in a destructor: then the signal is given again."""
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
                    # The lock stays taken: the main thread is not to change anything any more.
                with suppress(BaseException):
                    farewell.say()

        thread = threading.Thread(target=say_farewell, daemon=True)
        thread.start()
        thread.join(_LAST_SECONDS)
        os._exit(128 + number)


_active: _Listener | None = None


@contextmanager
def listening(*, patience_seconds: float | None = None, ends_process: bool = False) -> Iterator[None]:
    """Handle signals in the body. Nested uses change nothing; outside the main thread, signals cannot be handled.

    Args:
        patience_seconds: Time between a signal and the process's end, whatever hangs; default: `PATIENCE_SECONDS`.
        ends_process: Whether the process ends with what is inside: its last steps are watched over, too.

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
    """Let nothing be interrupted inside; a signal that comes meanwhile counts at the end.

    Yields:
        Nothing.

    Raises:
        Interrupted: A signal came.
    """
    begin_protected()
    try:
        yield
    finally:
        end_protected()


def begin_protected() -> None:
    """See `protected`, where begin and end are in different functions."""
    if (listener := _of_this_thread()) is not None:
        listener.enter()


def end_protected() -> None:
    """See `begin_protected`; must follow it.

    Raises:
        Interrupted: A signal came meanwhile.
    """
    if (listener := _of_this_thread()) is not None and listener.is_protected:
        listener.leave()


def leave_protected() -> None:
    """After an error inside: nothing is protected any more, whatever began it."""
    if (listener := _of_this_thread()) is not None:
        listener.leave_all()


def is_protected() -> bool:
    """Whether something is being done that must not be left half done."""
    listener = _of_this_thread()
    return listener is not None and listener.is_protected


def acknowledge() -> None:
    """The exception has arrived: it is not to be raised again."""
    if (listener := _of_this_thread()) is not None:
        listener.acknowledge()


def told() -> Interrupted | None:
    """The signal that came, also where its exception was lost on the way, or something else failed meanwhile; or None."""
    listener = _of_this_thread()
    return None if listener is None or listener.received is None else Interrupted(listener.received)


def is_stopping() -> bool:
    """Whether a signal came that ends the process: one that we handle, or one whose handler raised any exception."""
    listener = _of_this_thread()
    return listener is not None and listener.is_stopping


def is_listening() -> bool:
    """Whether signals are heard already."""
    return _of_this_thread() is not None


@contextmanager
def farewell(*, say: Callable[[], None], save: Callable[[], None] | None = None) -> Iterator[None]:
    """What to do inside if the process must end without unwinding.

    Args:
        say: Writes down that it ended; fast.
        save: Writes a checkpoint; called only where nothing is half done, in another thread.

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
