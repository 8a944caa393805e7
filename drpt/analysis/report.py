"""Writes a sweep's table, chart and page into its folder, for `drpt report` and at the end of a sweep."""

import json
import logging
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from drpt.analysis.chart import draw_chart
from drpt.analysis.page import build_page
from drpt.analysis.run import COMMANDS_FILE, ResultsError
from drpt.analysis.sweep import Sweep, read_sweep
from drpt.analysis.sweep_words import fault_lines, none_finished, states_of
from drpt.analysis.table import ZERO_SHOT, Row, row_notes, size_notes, tabulate
from drpt.analysis.table_formats import as_csv
from drpt.files import write_atomically
from drpt.storage import StorageError, explain_failure
from drpt.tasks.find import task_metrics_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Report:
    """The written files and their contents."""

    sweep: Sweep
    rows: list[Row]
    table: Path
    chart: Path
    page: Path
    faults: dict[Path, str]  # reason and remedy for each file that could not be written
    notes: list[str]  # notes for the reader, from `size_notes`, `row_notes` and `fault_lines`
    is_whole: bool  # whether every job is finished and all files could be read and written

    @property
    def written(self) -> dict[str, Path]:
        """Written files, by kind."""
        files = {"chart": self.chart, "page": self.page, "table": self.table}
        return {name: path for name, path in files.items() if path not in self.faults}


def write_report(folder: Path) -> Report:
    """Write ``table.csv``, ``chart.png`` and ``report.html`` independently, so that a failure of one leaves the others.

    Args:
        folder: Folder of a sweep.

    Returns:
        The table's rows, the paths of the files, and the faults.

    Raises:
        ResultsError: No run is finished.
    """
    sweep = read_sweep(folder)
    rows = tabulate(sweep)
    if not rows:
        raise ResultsError(none_finished(sweep))
    title = f"{_title(sweep.name, rows)}\n{states_of(sweep)}"
    table, chart, page = (folder / name for name in ("table.csv", "chart.png", "report.html"))
    damaged = fault_lines(sweep)
    notes = [*size_notes(rows), *row_notes(rows), *damaged]
    files: dict[Path, Callable[[], str | bytes]] = {
        table: lambda: as_csv(rows, sweep.name),
        chart: lambda: draw_chart(rows, title),
        page: lambda: build_page(rows, sweep, title=_title(sweep.name, rows), command=commands_of(sweep), notes=notes),
    }
    faults = {path: fault for path, make in files.items() if (fault := _fault_of(path, make)) is not None}
    return Report(
        sweep=sweep,
        rows=rows,
        table=table,
        chart=chart,
        page=page,
        faults=faults,
        notes=notes,
        is_whole=sweep.is_complete and not damaged and not faults,
    )


def _fault_of(path: Path, make: Callable[[], str | bytes]) -> str | None:
    """Write one file, and return the reason if that failed, else None."""
    try:
        write_atomically(path, make())
    except StorageError as error:
        return str(error)
    except OSError as error:
        return explain_failure(path, error)
    except Exception as error:  # hours of training must not end with the traceback of a picture
        _log.debug("%s", path, exc_info=True)
        return f"{path} could not be created ({type(error).__name__}: {error}); this is a bug in drpt: please report it"
    return None


def _runs(count: int) -> str:
    return f"{count} run{'s'[: count != 1]}"


def _title(name: str, rows: Sequence[Row]) -> str:
    num_points = sum(row.name != ZERO_SHOT for row in rows)
    quantities = dict.fromkeys(task_metrics_of(row.task).primary.name for row in rows)
    return f"{name}: {' and '.join(quantities)} under {num_points} regularizer{'s'[: num_points != 1]}"


def commands_of(sweep: Sweep) -> str:
    """The commands that created a sweep, as typed, one on each line.

    Args:
        sweep: Sweep, whose record may be missing or damaged.

    Returns:
        Text for a shell.
    """
    commands: dict[str, None] = {}
    is_whole = True
    try:
        lines = (sweep.folder / COMMANDS_FILE).read_text().splitlines()
    except (OSError, ValueError):
        lines, is_whole = [], False
    for line in lines:
        try:
            commands[shlex.join(["drpt", "train", *json.loads(line)["words"]])] = None
        except (ValueError, KeyError, TypeError):
            is_whole = False
    return "\n".join([*commands, *([] if is_whole else [f"drpt train  # {_runs(len(sweep.jobs))}; the record is incomplete"])])
