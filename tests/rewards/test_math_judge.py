"""The process that compares: what it says when nobody asks properly, and its end."""

import json
import signal
import subprocess
import sys

import pytest

from drpt.rewards import math_judge
from drpt.rewards.math_judge import Judge

COMMAND = [sys.executable, "-m", "drpt.rewards.math_judge"]


def test_outcomes():
    judge = Judge(20.0)
    pairs = [("8", "8"), ("8", "7"), ("8", "eight"), ("8", "\ud800"), (r"\boxed{\frac12}", "0.5")]
    assert [judge.compare(*pair) for pair in pairs] == ["correct", "wrong", "unparsable", "unparsable", "correct"]


def test_it_ends_with_whoever_asks():
    done = subprocess.run([*COMMAND, "60"], input=b'["8", "8"]\n', capture_output=True, check=True, timeout=120)
    assert json.loads(done.stdout) == "correct"


def test_it_ends_by_itself_when_a_comparison_takes_for_ever():
    done = subprocess.run([*COMMAND, "4"], input=b'["7", "9**9**9**9"]\n', capture_output=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGALRM


def test_what_kills_the_process_every_time_is_a_crash(monkeypatch):
    judge = Judge(20.0)
    assert judge.compare("8", "8") == "correct"
    ask = math_judge._exchange

    def ask_and_kill(process, pair, seconds):
        if pair != math_judge._READY:
            process.kill()
            process.wait()
        return ask(process, pair, seconds)

    monkeypatch.setattr(math_judge, "_exchange", ask_and_kill)
    assert judge.compare("8", "8") == "crashed"
    monkeypatch.undo()
    assert judge.compare("8", "8") == "correct"


def test_a_judge_that_does_not_start_says_how_to_see_why(monkeypatch):
    monkeypatch.setattr(math_judge.sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match=r"math-verify does not start: try `/bin/false -m drpt\.rewards\.math_judge"):
        Judge(1.0).compare("8", "8")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(math_judge, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"math-verify is not installed.*make install"):
        Judge(1.0)
