"""Kills, signals and damaged files at random over all tasks: the same result bit by bit, or a refusal that names the file.

`python -m tests.app.test_disturbances 40 100 sft rlhf` tries seeds 40 to 99 of two tasks.
"""

import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest

from tests.app.disturbances import TASKS, is_hurt, peaceful_result, tidy, try_once
from tests.app.processes import warm_up

TRIALS = 16  # of each task, in `make test-long`


_HURT: dict[str, list[bool]] = {}  # by task: whether a trial was interrupted or damaged at all


@cache
def peaceful(task):
    """What a run in peace leaves, and the seconds it takes in a process that finds everything imported."""
    warm_up()
    with tempfile.TemporaryDirectory(prefix="drpt-peace-") as place:
        start = time.monotonic()
        return peaceful_result(task, Path(place)), time.monotonic() - start


@pytest.mark.parametrize("task", ["sft", "rlhf"])
def test_a_hurt_run_ends_as_if_nothing_had_happened(task, tmp_path):
    try_once(0, tmp_path, task, *peaceful(task))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, TRIALS + 1))
@pytest.mark.parametrize("task", TASKS)
def test_hurt_runs_end_as_if_nothing_had_happened(task, seed, tmp_path):
    story = try_once(seed, tmp_path, task, *peaceful(task))
    _HURT.setdefault(task, []).append(is_hurt(story))
    tidy(tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("task", TASKS)
def test_most_of_the_trials_hurt(task):
    if len(found := _HURT.get(task, [])) < TRIALS:
        pytest.skip("counts the trials before it")
    assert sum(found) >= 0.75 * TRIALS, found


if __name__ == "__main__":
    low, high, *tasks = sys.argv[1:]
    for seed in range(int(low), int(high)):
        for task in tasks or TASKS:
            with tempfile.TemporaryDirectory(prefix="drpt-hurt-") as folder:
                sys.stdout.write("\n  ".join(try_once(seed, Path(folder), task, *peaceful(task))) + "\n")
                sys.stdout.flush()
