"""Estimates the remaining time of a sweep, after the first steps of its first job and at the end of every job."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

_FIRST_STEPS = 3  # number of steps of the first job that an estimate needs
_current: "SweepClock | None" = None


class SweepClock:
    """Times the jobs that one process runs one after another.

    Args:
        num_jobs: Number of jobs to run.
        num_finished: Number of jobs that are already finished and take no time.
        console: Console to print to; default: standard error.
        now: Clock, in seconds.
    """

    def __init__(
        self,
        num_jobs: int,
        *,
        num_finished: int = 0,
        console: Console | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._num_jobs, self._num_finished = num_jobs, num_finished
        self._console = console or Console(stderr=True, highlight=False)
        self._now = now
        self._seconds: list[float] = []  # durations of the jobs that have ended
        self._number = 0
        self._start = self._first_step = now()
        self._is_said = False

    @contextmanager
    def job(self, number: int) -> Iterator[None]:
        """Time a job, and print the remaining time at its end.

        Args:
            number: Index of the job, from 0.

        Yields:
            Nothing; inside, `current_clock` returns this clock.
        """
        global _current
        self._number, self._start, before = number, self._now(), _current
        _current = self
        try:
            yield
        finally:
            _current = before
        self._seconds.append(self._now() - self._start)
        left = self._num_jobs - number - 1
        if left:
            each = sum(self._seconds) / len(self._seconds)
            self._console.print(
                f"job {number + 1} of {self._num_jobs} took {shown_time(self._seconds[-1])}; {_jobs(left)} left, "
                f"about {shown_time(each * left)}",
                soft_wrap=True,
            )

    @property
    def place(self) -> str:
        """Position of the current job in the sweep, for the progress bar: ``2/6``."""
        return f"{self._number + 1}/{self._num_jobs}"

    def after_step(self, done: int, num_steps: int) -> str | None:
        """Note a training step of the current job.

        Args:
            done: Number of steps since the job began or was resumed.
            num_steps: Total number of steps from there to the end.

        Returns:
            A line about the remaining time, once, after the first steps of the first job; otherwise None.
        """
        if done == 1:
            self._first_step = self._now()
        if self._is_said or self._seconds or done < min(_FIRST_STEPS, num_steps) or num_steps < 2:
            return None
        self._is_said = True
        each_step = (self._now() - self._first_step) / max(1, done - 1)
        job = (self._first_step - self._start) + each_step * (num_steps - 1)
        left = job * self._num_jobs - (self._now() - self._start)
        return (
            f"{_jobs(self._num_jobs)} to run, about {shown_time(left)} left ({shown_time(job)} each, judging by the first "
            f"{done} steps)"
        )


def current_clock() -> SweepClock | None:
    """The clock of the sweep that runs in this process; None if there is none."""
    return _current


def shown_time(seconds: float) -> str:
    """A duration in up to two units: ``45 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{max(whole, 1)} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _jobs(number: int) -> str:
    return f"{number} job{'s'[: number != 1]}"
