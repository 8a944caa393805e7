"""Shows the progress of checking a large sweep: a bar on a terminal, otherwise a line every few seconds."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_T = TypeVar("_T")
_MANY = 30  # number of jobs from which progress is shown
_PATIENCE_SECONDS = 2.0  # time before anything is shown, and between two lines


def watched(jobs: Iterable[_T], total: int, *, console: Console, now: Callable[[], float] = time.monotonic) -> Iterator[_T]:
    """Pass jobs on, and show the progress if it takes long.

    Args:
        jobs: Jobs to pass on.
        total: Number of jobs.
        console: Console for the progress.
        now: Clock, in seconds.

    Yields:
        The jobs.
    """
    if total < _MANY:
        yield from jobs
        return
    if console.is_terminal:
        yield from _with_bar(jobs, total, console)
        return
    shown = now()
    for number, job in enumerate(jobs):
        if now() - shown >= _PATIENCE_SECONDS:
            console.print(f"checked {number:,} of {total:,} jobs")
            shown = now()
        yield job


def _with_bar(jobs: Iterable[_T], total: int, console: Console) -> Iterator[_T]:
    columns = (TextColumn("checking jobs"), BarColumn(bar_width=20), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        for job in jobs:
            yield job
            progress.advance(task)
