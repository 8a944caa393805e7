"""How long a sweep will still take: said after the first steps of its first job, and whenever a job ends."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

_FIRST_STEPS = 3  # steps of the first job after which an estimate is worth something
_current: "SweepClock | None" = None


class SweepClock:
    """Times the jobs that one process runs one after another.

    Args:
        num_jobs: Jobs to be run.
        num_finished: Jobs of the sweep that are finished already: they cost nothing.
        console: Where to print; default: standard error.
        now: Seconds of a clock.
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
        self._seconds: list[float] = []  # of the jobs that have ended
        self._number = 0
        self._start = self._first_step = now()
        self._is_said = False

    @contextmanager
    def job(self, number: int) -> Iterator[None]:
        """Time a job, and say at its end what is left.

        Args:
            number: Of the job, from 0.

        Yields:
            Nothing; `current_clock` is this one meanwhile.
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
        """Of the job in the sweep, for its progress bar: ``2/6``."""
        return f"{self._number + 1}/{self._num_jobs}"

    def after_step(self, done: int, num_steps: int) -> str | None:
        """Listen to the training steps of the job.

        Args:
            done: Steps that the job has taken since it began or went on.
            num_steps: Steps that it takes from there to its end.

        Returns:
            A line about the time left, once, after the first steps of the first job.
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
    """The clock of the sweep whose job runs in this process, if there is one."""
    return _current


def shown_time(seconds: float) -> str:
    """A duration to two places: ``45 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{max(whole, 1)} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _jobs(number: int) -> str:
    return f"{number} job{'s'[: number != 1]}"
