"""The time that a sweep still takes: after the first steps of its first job, and at the end of each."""

import io
import re

from rich.console import Console

from drpt.app.sweep_clock import SweepClock, current_clock, shown_time
from tests.app.conftest import TINY


class Clock:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def test_time_left_is_said_after_the_first_steps_and_at_each_end():
    now, console = Clock(), Console(record=True, width=120, file=io.StringIO())
    clock = SweepClock(3, console=console, now=now)
    assert current_clock() is None
    with clock.job(0):
        assert current_clock() is clock
        assert clock.place == "1/3"
        now.seconds = 10.0  # loading
        said = []
        for step in range(1, 11):
            now.seconds += 2.0
            said.append(clock.after_step(step, 10))
        assert [line for line in said if line] == [
            "3 jobs to run, about 1 min 14 s left (30 s each, judging by the first 3 steps)"
        ]
        assert said[2]
    assert current_clock() is None
    with clock.job(1):
        now.seconds += 50.0
        assert clock.after_step(5, 10) is None
    with clock.job(2):
        now.seconds += 1.0
    lines = console.export_text().splitlines()
    assert lines == ["job 1 of 3 took 30 s; 2 jobs left, about 1 min 0 s", "job 2 of 3 took 50 s; 1 job left, about 40 s"]


def test_durations_are_shown_to_two_places():
    assert [shown_time(seconds) for seconds in (0.2, 59, 61, 754, 7505)] == ["1 s", "59 s", "1 min 1 s", "13 min", "2 h 5 min"]


def test_a_sweep_says_how_many_jobs_it_has_and_how_long_they_take(drpt):
    words = (*TINY, "regularizer=full,mix", "regularizer.strength=0.25,0.5", "evaluation.num_generate=0", "data.num_eval=2")
    status, text = drpt("train", "-m", *words, "trainer.max_steps=3", "sweep=s")
    assert status == 0, text
    assert "3 jobs; 1 duplicates of these are skipped" in text
    assert re.search(r"3 jobs to run, about .* left \(.* each, judging by the first 3 steps\)", text)
    assert re.search(r"job 1 of 3 took .*; 2 jobs left, about", text)
    assert "seed=0 2/3: step" in text
    status, text = drpt("train", "-m", *words, "trainer.max_steps=3", "sweep=s")
    assert status == 0, text
    assert "3 jobs; 1 duplicates of these are skipped; 3 are already finished and skipped" in text
    assert "to run" not in text
