"""Progress of planning a large sweep: a bar on a terminal, else a line every few seconds."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_T = TypeVar("_T")
_MANY = 30  # jobs, of which it is worth showing
_PATIENCE_SECONDS = 2.0  # before anything is shown, and between two lines


def watched(jobs: Iterable[_T], total: int, *, console: Console, now: Callable[[], float] = time.monotonic) -> Iterator[_T]:
    """Hand jobs on, showing how many have been looked at once that takes long.

    Args:
        jobs: To be looked at.
        total: Their number.
        console: Where to show it.
        now: Seconds of a clock.

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
            console.print(f"looked at {number:,} of {total:,} jobs")
            shown = now()
        yield job


def _with_bar(jobs: Iterable[_T], total: int, console: Console) -> Iterator[_T]:
    columns = (TextColumn("checking jobs"), BarColumn(bar_width=20), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        for job in jobs:
            yield job
            progress.advance(task)
