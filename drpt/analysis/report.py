"""A sweep's table, chart and page, written into its folder."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drpt.analysis.chart import draw_chart
from drpt.analysis.page import build_page
from drpt.analysis.run import COMMANDS_FILE, ResultsError, Run, read_sweep
from drpt.analysis.table import ZERO_SHOT, Row, as_csv, tabulate
from drpt.analysis.yardsticks import yardstick_of
from drpt.files import write_atomically


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was written."""

    rows: list[Row]
    table: Path
    chart: Path
    page: Path


def write_report(folder: Path) -> Report:
    """Write ``table.csv``, ``chart.png`` and ``report.html``.

    Args:
        folder: A sweep's.

    Returns:
        The table's rows and the files' paths.

    Raises:
        ResultsError: No run is finished.
    """
    runs = read_sweep(folder)
    rows = tabulate(runs)
    if not rows:
        raise ResultsError(f"{folder}: none of its {len(runs)} runs is finished yet. {_why(runs)}")
    title = _title(folder.resolve().name, rows)
    table, chart, page = (folder / name for name in ("table.csv", "chart.png", "report.html"))
    write_atomically(table, as_csv(rows))
    write_atomically(chart, draw_chart(rows, title))
    write_atomically(page, build_page(rows, runs, title=title, command=commands_of(folder, runs)))
    return Report(rows=rows, table=table, chart=chart, page=page)


def _title(name: str, rows: Sequence[Row]) -> str:
    num_points = sum(row.name != ZERO_SHOT for row in rows)
    quantities = dict.fromkeys(yardstick_of(row.task).primary.name for row in rows)
    return f"{name}: {' and '.join(quantities)} under {num_points} regularizer{'s'[: num_points != 1]}"


def commands_of(folder: Path, runs: Sequence[Run]) -> str:
    """The commands that made a sweep, as typed, one a line.

    Args:
        folder: The sweep's.
        runs: Its runs, for a sweep that kept no record.

    Returns:
        Text for a shell.
    """
    path = folder / COMMANDS_FILE
    if not path.exists():
        return f"drpt train  # {len(runs)} runs"
    lines = dict.fromkeys(shlex.join(["drpt", "train", *json.loads(line)["words"]]) for line in path.read_text().splitlines())
    return "\n".join(lines)


def _why(runs: Sequence[Run]) -> str:
    errors = [f"{run.folder.name}: {run.summary.get('error', run.summary['status'])}" for run in runs]
    return "; ".join(errors[:3])
