"""A process that answers in time or is ended: its own end, and what it does not hear."""

import gc
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from drpt import timed_worker
from drpt.timed_worker import CRASHED, TIMED_OUT, TimedWorker

MODULE = "tests.slow_answers"
COMMAND = [sys.executable, "-m", MODULE]


@pytest.fixture(scope="module")
def worker():
    return TimedWorker(MODULE, 20.0)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_questions_are_answered_by_one_process(worker):
    assert worker.ask({"say": [1, None]}) == [1, None]
    pid = worker.process_id
    assert worker.ask({"say": "again"}) == "again"
    assert worker.process_id == pid


def test_it_has_the_modules_of_whoever_asks(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    assert TimedWorker(MODULE, 20.0).ask({"say": 1}) == 1


def test_what_a_handler_prints_is_no_answer(worker):
    assert worker.ask({"say": 1, "print": '"no"'}) == 1
    assert worker.ask({"say": 2}) == 2


def test_a_question_that_takes_too_long_costs_itself_alone():
    brief = TimedWorker(MODULE, 0.5)
    assert brief.ask({"say": 1}) == 1
    pid = brief.process_id
    start = time.monotonic()
    assert brief.ask({"say": 2, "sleep": 60}) == TIMED_OUT
    assert time.monotonic() - start < 10
    assert not is_alive(pid)
    assert brief.ask({"say": 3}) == 3
    assert brief.process_id != pid


def test_a_signal_for_the_run_leaves_it_be(worker):
    worker.start()
    pid = worker.process_id
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(pid, number)
    assert worker.ask({"say": "still here"}) == "still here"
    assert worker.process_id == pid
    assert os.getpgid(pid) != os.getpgid(0)  # Ctrl-C in a terminal goes to a group


def test_memory_is_bounded(worker):
    assert worker.ask({"say": 1, "bytes": 8 * 2**30}) == CRASHED
    assert worker.ask({"say": 1}) == 1


def test_no_process_is_left_behind():
    own = TimedWorker(MODULE, 20.0)
    own.start()
    pid = own.process_id
    assert is_alive(pid)
    del own
    gc.collect()
    assert not is_alive(pid)


def test_a_closed_one_starts_again(worker):
    worker.start()
    pid = worker.process_id
    worker.close()
    assert not is_alive(pid)
    assert worker.ask({"say": 1}) == 1


def test_a_killed_one_is_started_anew(worker):
    worker.start()
    for wait in (True, False):  # known to be gone, or found out by asking
        process = worker._process
        os.kill(process.pid, signal.SIGKILL)
        if wait:
            process.wait()
        assert worker.ask({"say": 1}) == 1
        assert worker.process_id != process.pid


def test_it_ends_with_whoever_asks():
    done = subprocess.run([*COMMAND, "60"], input=b'{"say": 8}\n', capture_output=True, check=True, timeout=120)
    assert [json.loads(line) for line in done.stdout.splitlines()] == ["ready", 8]


def test_it_ends_by_itself_when_an_answer_takes_for_ever():
    done = subprocess.run([*COMMAND, "0.5"], input=b'{"say": 8, "sleep": 60}\n', capture_output=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGALRM


def test_what_kills_the_process_every_time_is_a_crash(worker):
    assert worker.ask({"say": 1, "exit": 3}) == CRASHED
    assert worker.ask({"say": 1}) == 1


def test_one_that_does_not_start_says_how_to_see_why(monkeypatch):
    monkeypatch.setattr(timed_worker.sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match=r"does not start: try `/bin/false -P -m tests\.slow_answers"):
        TimedWorker(MODULE, 1.0).ask({})
