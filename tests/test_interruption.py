"""Signals become exceptions where nothing is half done, and end the process in time whatever hangs."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress

import pytest

from drpt import interruption
from drpt.interruption import Interrupted, listening, protected, told

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _handlers():
    before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGUSR2)}
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # bytecodes, between which Python hears it


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_an_exception(number):
    with pytest.raises(Interrupted) as caught, listening():
        send(number)
    assert caught.value.exit_code == 128 + number
    assert str(caught.value) == number.name


def _drop(objects):
    objects.clear()
    time.sleep(5)


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in SIGNALS]
    with listening(), listening():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_what_is_protected_is_finished_first():
    done = []

    def work():
        with listening(), protected():
            with protected():
                send(signal.SIGTERM)
                done.append("inner")
            done.append("outer")
            assert interruption.is_protected()
            assert str(told()) == "SIGTERM"

    with pytest.raises(Interrupted):
        work()
    assert done == ["inner", "outer"]
    assert told() is None


def test_an_exception_that_was_swallowed_comes_again():
    with listening():
        with suppress(Interrupted):  # as a destructor does
            send(signal.SIGTERM)
        interruption.begin_protected()
        with pytest.raises(Interrupted):
            interruption.end_protected()


@pytest.mark.filterwarnings("error")
def test_one_that_a_destructor_swallows_comes_again(capfd):
    class Slow:
        def __del__(self):
            send(signal.SIGTERM)

    with listening():
        with pytest.raises(Interrupted):
            _drop(slow := [Slow()])
        assert slow == []
    assert capfd.readouterr().err == ""


def test_one_that_has_arrived_does_not_come_again():
    with listening():
        with pytest.raises(Interrupted):
            send(signal.SIGTERM)
        interruption.acknowledge()
        with protected():  # a checkpoint is written on the way up
            pass
        send(signal.SIGTERM)  # clusters repeat themselves


def test_an_error_inside_leaves_nothing_protected():
    with listening():
        interruption.begin_protected()
        interruption.leave_protected()
        assert not interruption.is_protected()
        with pytest.raises(Interrupted):
            send(signal.SIGTERM)
        interruption.end_protected()  # nothing to end


def test_others_who_listen_are_heard_after_what_is_protected():
    heard = []
    signal.signal(signal.SIGUSR2, lambda number, frame: heard.append(number))
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))  # submitit ignores it so
    with listening():
        with protected():
            send(signal.SIGUSR2)
            assert heard == []
        assert heard == [signal.SIGUSR2]
        send(signal.SIGTERM)
        assert heard == [signal.SIGUSR2, signal.SIGTERM]
        assert told() is None


@pytest.mark.parametrize("error", [SystemExit(-1), RuntimeError("timed out too often")])
def test_what_others_raise_counts_as_stopping(error):
    """submitit's way to requeue a job, or to give it up."""

    def handle(number, frame):
        raise error

    signal.signal(signal.SIGUSR2, handle)
    with listening():
        assert not interruption.is_stopping()
        with pytest.raises(type(error)):
            send(signal.SIGUSR2)
        assert interruption.is_stopping()
        assert told() is None


def test_who_ignores_the_keyboard_goes_on_ignoring_it():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a job in a shell's background
    with listening():
        send(signal.SIGINT)


def test_without_a_listener_nothing_is_protected():
    with protected():
        assert not interruption.is_protected()
    with pytest.raises(KeyboardInterrupt), protected():
        send(signal.SIGINT)


HANGS = """
    import ctypes, os, signal, sys, threading, time
    from drpt import interruption
    from drpt.interruption import listening, protected, farewell
    libc = ctypes.CDLL(None)
    interruption._LAST_SECONDS = 1.0
    def hang():  # native code that does not return, and lets other threads run
        mutex = ctypes.create_string_buffer(128)
        libc.pthread_mutex_lock(mutex)
        print("hangs", flush=True)
        libc.pthread_mutex_lock(mutex)
    with listening(patience_seconds=float(sys.argv[1]), ends_process=True):
        with farewell(save=lambda: print("saved", flush=True), say=lambda: print("said", flush=True)):
            {body}
"""


def hanging(body, patience):
    code = textwrap.dedent(HANGS).format(body=textwrap.indent(textwrap.dedent(body), " " * 12).strip())
    process = subprocess.Popen([sys.executable, "-c", code, str(patience)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "hangs\n"
    time.sleep(0.2)  # until it does
    return process


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("hang()", "saved\nsaid\n"),
        ("with protected():\n    hang()", "said\n"),  # something is half done
    ],
)
def test_what_hangs_is_ended(body, words):
    process = hanging(body, 0.3)
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=20)
    assert text == words
    assert process.returncode == 128 + signal.SIGTERM
    assert 0.25 < time.monotonic() - start < 5


def test_a_second_press_ends_at_once():
    process = hanging("hang()", 60)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)  # by a wrapper: the same press
    time.sleep(0.6)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=10)
    assert text == "said\n"
    assert process.returncode == 128 + signal.SIGINT
