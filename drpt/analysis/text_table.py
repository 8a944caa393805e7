"""Fits tables into a terminal without breaking labels or figures, for `drpt table` and `drpt outcome`."""

from collections.abc import Callable, Iterable, Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

_UNBOUNDED = 10_000  # characters; wider than any table


def width_of(table: Table) -> int:
    """Width of a table in characters, if no cell is broken."""
    return Console(width=_UNBOUNDED).measure(table).maximum


def first_that_fits(builders: Iterable[Callable[[Sequence[str]], Table]], labels: Sequence[str], width: int) -> Table | Group:
    """The first table that fits into a terminal.

    If none fits, the last one is used with numbers in the place of labels, and the labels are listed below it.

    Args:
        builders: Functions that build a table from the labels of its rows, the preferred one first; at least one.
        labels: Labels of the rows.
        width: Width of the terminal, in characters.

    Returns:
        The table, for a console to print.
    """
    for build in builders:
        table = build(labels)
        if width_of(table) <= width:
            return table
    numbers = [f"({number})" for number in range(1, len(labels) + 1)]
    return Group(build(numbers), *(Text(f"{number} {label}") for number, label in zip(numbers, labels, strict=True)))
