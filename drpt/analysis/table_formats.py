"""Formats a sweep's table for terminals, as CSV, as Markdown and as LaTeX."""

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from drpt.analysis.table import ZERO_SHOT, Row, by_task, columns_of, estimate
from drpt.analysis.text_table import first_that_fits
from drpt.tasks.find import common_task_metrics
from drpt.tasks.task_metrics import Column


def as_text(rows: Sequence[Row], width: int) -> Table | Group:
    """The table for a terminal, one for each task; the best of the trained points are bold (see `best_labels`).

    If there is little room, titles are short and some columns are left out; labels and figures are never broken.

    Args:
        rows: Rows from `tabulate`.
        width: Width of the terminal, in characters.

    Returns:
        The table, for a console to print.
    """
    parts = by_task(rows)
    if len(parts) > 1:
        return Group(*(_text_table(part, width, title=f"task={part[0].task}") for part in parts))
    return _text_table(rows, width)


def _text_table(rows: Sequence[Row], width: int, title: str | None = None) -> Table | Group:
    def builders() -> Iterator[Callable[[Sequence[str]], Table]]:
        kept = list(columns_of(rows))
        if width >= common_task_metrics(row.task for row in rows).wide:
            yield partial(_build, rows, kept, is_narrow=False, title=title)
        yield partial(_build, rows, kept, is_narrow=True, title=title)
        while len(kept) > 1:  # the first column is the task's primary metric
            dropped = max(reversed(kept), key=lambda column: column.spare)
            kept = [column for column in kept if column != dropped]
            yield partial(_build, rows, kept, is_narrow=True, title=title)

    return first_that_fits(builders(), [row.label for row in rows], width)


def _build(
    rows: Sequence[Row], columns: Sequence[Column], labels: Sequence[str], *, is_narrow: bool, title: str | None
) -> Table:
    table = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 0 if is_narrow else 1), title=title)
    if missing := [column.title for column in columns_of(rows) if column not in columns]:
        table.caption = f"no room here for {', '.join(missing)}; the CSV has all"
    table.add_column("regularizer", no_wrap=True)
    table.add_column("n" if is_narrow else "seeds", justify="right", no_wrap=True)
    for column in columns:
        table.add_column(column.short if is_narrow else column.title, justify="right", no_wrap=True)
    best = best_labels(rows)
    for row, label in zip(rows, labels, strict=True):
        cells = [show_cell(row, column) for column in columns]
        marked = [
            f"[bold]{cell}[/]" if best.get(column.key) == row.label else cell
            for column, cell in zip(columns, cells, strict=True)
        ]
        is_trained = row.name != ZERO_SHOT
        # Escaped, since a label may contain a list, whose brackets are not markup.
        table.add_row(escape(label), row.seeds, *marked, style=None if is_trained else "dim")
    return table


def show_cell(row: Row, column: Column, plus_minus: str = " ± ") -> str:
    """The text of one cell.

    Args:
        row: Row of the cell.
        column: Column of the cell.
        plus_minus: Separator between mean and standard error.

    Returns:
        The figure in the column's unit and with its number of digits.
    """
    value = row.values[column.key]
    shown = value if column.has_error else replace(value, stderr=math.nan)
    return shown.show(column.digits, column.scale, plus_minus)


def best_labels(rows: Sequence[Row]) -> dict[str, str]:
    """Label of the best trained point by key of the column, for columns in which lower or higher is better."""
    best: dict[str, str] = {}
    for column in columns_of(rows):
        trained = [row for row in rows if row.name != ZERO_SHOT and row.values[column.key].count]
        if trained and column.best is not None:
            sign = 1.0 if column.best == "lowest" else -1.0
            best[column.key] = min(trained, key=lambda row: sign * row.values[column.key].mean).label
    return best


def as_csv(rows: Sequence[Row], sweep: str = "") -> str:
    """Raw figures: mean and standard error of every column, in its base unit (seconds, bytes, shares).

    Args:
        rows: Rows from `tabulate`.
        sweep: Name of the sweep, repeated in the last column.

    Returns:
        CSV. With several tasks, the first column is the task, and figures of other tasks are empty.
    """
    parts = by_task(rows)
    is_mixed = len(parts) > 1
    keys = list(dict.fromkeys(column.key for part in parts or [[]] for column in columns_of(part)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = ["regularizer", "name", "strength", "seeds", "num_seeds"]
    header += [f"{key}_{part}" for key in keys for part in ("mean", "stderr")]
    header += ["num_planned", "sweep"]
    writer.writerow(["task", *header] if is_mixed else header)
    nothing = estimate([])
    for row in rows:
        seeds = " ".join(str(run.config["seed"]) for run in row.runs) if row.name != ZERO_SHOT else ""
        values = [row.values.get(key, nothing) for key in keys]
        figures = [number for value in values for number in (value.mean, value.stderr)]
        strength = "" if row.strength is None else row.strength
        cells = ["" if math.isnan(number) else number for number in figures]
        num_seeds, num_planned = (row.num_seeds, row.num_seeds + row.num_unfinished) if seeds else ("", "")
        line = [row.label, row.name, strength, seeds, num_seeds, *cells, num_planned, sweep]
        writer.writerow([row.task, *line] if is_mixed else line)
    return text.getvalue()


def as_markdown(rows: Sequence[Row], below: Sequence[str] = ()) -> str:
    """A table for a README, one for each task.

    Args:
        rows: Rows from `tabulate`.
        below: Lines of plain text to put below the table.

    Returns:
        GitHub's Markdown.
    """
    words = "".join(f"\n{line.strip()}  " for line in below)  # two spaces end a line
    return "\n".join(_markdown_table(part) for part in by_task(rows) or [[]]) + (f"{words}\n" if words else "")


def _markdown_table(rows: Sequence[Row]) -> str:
    columns = columns_of(rows)
    lines = [["regularizer", "seeds", *(column.title for column in columns)]]
    lines.append([":--", *["--:"] * (len(columns) + 1)])
    for row in rows:
        lines.append([row.label, row.seeds, *(show_cell(row, column) for column in columns)])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def as_latex(rows: Sequence[Row], below: Sequence[str] = ()) -> str:
    """A ``tabular`` for a paper, with booktabs rules; one for each task.

    Args:
        rows: Rows from `tabulate`.
        below: Lines of plain text to put below the table as comments.

    Returns:
        LaTeX.
    """
    return "\n".join(_latex_table(part) for part in by_task(rows) or [[]]) + "".join(f"% {line}\n" for line in below)


def _latex_table(rows: Sequence[Row]) -> str:
    columns = columns_of(rows)

    def escape(text: str) -> str:
        for plain, tex in (
            ("_", r"\_"),
            ("%", r"\%"),
            ("λ", r"$\lambda$"),
            ("ρ", r"$\rho$"),
            ("∞", r"$\infty$"),
            ("–", "--"),
        ):
            text = text.replace(plain, tex)
        return text

    lines = [
        rf"\begin{{tabular}}{{l{'r' * (len(columns) + 1)}}}",
        r"\toprule",
        " & ".join(["regularizer", "seeds", *(escape(column.title) for column in columns)]) + r" \\",
        r"\midrule",
    ]
    for row in rows:
        cells = [show_cell(row, column, r" $\pm$ ") for column in columns]
        lines.append(" & ".join([escape(row.label), row.seeds, *map(escape, cells)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"
