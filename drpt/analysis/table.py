"""Tabulates a sweep: one row for each regularizer and strength, with mean and standard error over seeds."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from drpt.analysis.page_settings import drawn
from drpt.analysis.point_settings import data_of, find_points, group_runs, is_told_by_data, point_labels, settings_of
from drpt.analysis.run import Run
from drpt.analysis.sweep import Sweep
from drpt.tasks.find import common_task_metrics, task_metrics_of
from drpt.tasks.task_metrics import Column

ZERO_SHOT = "zero-shot"


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean over seeds and its standard error, which is NaN for one seed."""

    mean: float
    stderr: float
    count: int

    def show(self, digits: int, scale: float = 1.0, plus_minus: str = " ± ") -> str:
        """The mean, with the standard error if there is one."""
        if self.count == 0:
            return "–"
        if math.isinf(self.mean):
            return "∞"
        mean = f"{self.mean * scale:.{digits}f}"
        return mean if math.isnan(self.stderr) else f"{mean}{plus_minus}{self.stderr * scale:.{digits}f}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """All runs of one point: one regularizer with its dials, under otherwise equal settings."""

    label: str
    name: str  # name of the regularizer
    strength: float | None
    runs: tuple[Run, ...]
    values: dict[str, Estimate]  # estimates by key of the column
    repeated: tuple[Run, ...] = ()  # further runs of seeds that are among `runs`, left out
    num_unfinished: int = 0  # number of unfinished jobs of the point

    @property
    def num_seeds(self) -> int:
        """How many replicates."""
        return len(self.runs)

    @property
    def seeds(self) -> str:
        """Number of replicates, with the number planned if some are unfinished; empty for the model before training."""
        if self.name == ZERO_SHOT:
            return ""
        return f"{self.num_seeds} of {self.num_seeds + self.num_unfinished}" if self.num_unfinished else str(self.num_seeds)

    @property
    def task(self) -> str:
        """Name of the runs' task."""
        return self.runs[0].task

    @property
    def primary(self) -> Estimate:
        """Final value of the task's primary metric."""
        return self.values[task_metrics_of(self.task).final.key]

    @property
    def finals(self) -> list[float]:
        """Final values of the primary metric, for the runs that have one."""
        return _figures_of(self.runs, "final", task_metrics_of(self.task).final.metric)


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and standard error ``s/√n``, where ``s`` has n − 1 in its denominator.

    Args:
        values: Value of each seed.

    Returns:
        The estimate, with NaN for the mean of no value and the error of fewer than two.
    """
    if not values:
        return Estimate(math.nan, math.nan, 0)
    stderr = stdev(values) / math.sqrt(len(values)) if len(values) > 1 and all(map(math.isfinite, values)) else math.nan
    return Estimate(fmean(values), stderr, len(values))


def tabulate(runs: Sequence[Run]) -> list[Row]:
    """Group finished runs into points.

    Runs belong to one point if their configurations agree in everything except the seed and settings without effect, and if
    they were made from the same data, files and model; each seed counts once. Settings outside of the regularizer that differ
    between points are added to every label. Settings of the regularizer are added if two points would have the same label.

    Args:
        runs: Runs of one sweep, or the sweep; unfinished ones are left out and counted.

    Returns:
        Rows in this order: zero-shot (the model before training), target-only, full, others by name and strength. Several
        tasks come one after the other.

    Raises:
        ValueError: The task of a run is unknown.
    """
    finished = [run for run in runs if run.is_finished]
    tasks = dict.fromkeys(run.task for run in finished)
    rows = [row for task in tasks for row in _tabulate_task([run for run in finished if run.task == task])]
    unfinished = (
        runs.unfinished_points if isinstance(runs, Sweep) else Counter(run.point for run in runs if not run.is_finished)
    )
    if not unfinished:
        return rows
    return [row if row.name == ZERO_SHOT else replace(row, num_unfinished=unfinished.get(row.runs[0].point, 0)) for row in rows]


def by_task(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows grouped by task, each group for one table, in the order of `tabulate`."""
    return [[row for row in rows if row.task == task] for task in dict.fromkeys(row.task for row in rows)]


def columns_of(rows: Sequence[Row]) -> tuple[Column, ...]:
    """The columns of a table.

    Args:
        rows: Rows of a table, all of one task.

    Returns:
        The task's columns, with k in their titles if all runs drew the same number of responses.

    Raises:
        ValueError: Rows belong to several tasks.
    """
    found = {row.runs[0].config.get("evaluation", {}).get("pass_k") for row in rows}
    k = "k" if len(found) != 1 or None in found else str(found.pop())
    return tuple(
        replace(column, title=column.title.replace("{k}", k), short=column.short.replace("{k}", k))
        for column in common_task_metrics(row.task for row in rows).columns
    )


def _tabulate_task(finished: Sequence[Run]) -> list[Row]:
    columns = common_task_metrics(run.task for run in finished).columns
    points = find_points(finished)
    first = [point.runs[0] for point in points]
    labels = point_labels([run.label for run in first], [settings_of(run) for run in first], [point.data for point in points])
    rows = [
        Row(
            label=label,
            name=point.runs[0].regularizer["name"],
            strength=_number(point.runs[0].regularizer["strength"]),
            runs=point.runs,
            repeated=point.repeated,
            values={column.key: _estimate_over(point.runs, column.section, column.metric) for column in columns},
        )
        for label, point in zip(labels, points, strict=True)
    ]
    rows.sort(key=_rank)
    return [*_zero_shot(finished), *rows]


def _number(strength: float | str | None) -> float | None:
    """A strength as a number; None if it is automatic or missing."""
    return None if strength is None or isinstance(strength, str) else float(strength)


def _estimate_over(runs: Sequence[Run], section: str, metric: str) -> Estimate:
    return estimate(_figures_of(runs, section, metric))


def _figures_of(runs: Sequence[Run], section: str, metric: str) -> list[float]:
    return [run.summary[section][metric] for run in runs if metric in run.summary[section]]


def _zero_shot(runs: Sequence[Run]) -> list[Row]:
    """Rows of the model before training: one for each model and set of held-out examples."""
    # If no responses are drawn, no seed changes the figures and one run suffices; otherwise one run of each seed is used.
    task_metrics = common_task_metrics(run.task for run in runs)

    def what_is_measured(run: Run) -> dict[str, object]:
        return {key: value for key, value in settings_of(run).items() if key.startswith(task_metrics.untrained_settings)}

    def on_what(run: Run) -> tuple[dict[str, object], str]:
        return what_is_measured(run), data_of(run)

    def tellers(members: Sequence[Run]) -> tuple[Run, ...]:
        by_seed = {run.config["seed"]: run for run in reversed(members)}
        return tuple(by_seed[seed] for seed in sorted(by_seed)) if task_metrics.is_drawn else tuple(members[:1])

    def value(members: Sequence[Run], column: Column) -> Estimate:
        found = _estimate_over(tellers(members), "start", column.metric) if column.section == "final" else estimate([])
        return replace(found, stderr=math.nan) if found.stderr == 0 else found  # such as greedy answers, which ignore the seed

    groups = group_runs(runs, on_what)
    told = [on_what(members[0]) for members in groups]
    labels = point_labels([ZERO_SHOT] * len(groups), [settings for settings, _ in told], [data for _, data in told])
    return [
        Row(
            label=label,
            name=ZERO_SHOT,
            strength=None,
            runs=tellers(members),
            values={column.key: value(members, column) for column in task_metrics.columns},
        )
        for label, members in zip(labels, groups, strict=True)
    ]


def _rank(row: Row) -> tuple[int, str, float, str]:
    first = {"target_only": 0, "target_only_stopped": 1, "full": 2}
    return first.get(row.name, 3), row.name, -1.0 if row.strength is None else row.strength, row.label


def size_notes(rows: Sequence[Row]) -> list[str]:
    """Notes on the numbers of examples for training and evaluation.

    Args:
        rows: Rows from `tabulate`.

    Returns:
        A sentence for each task; none for runs that recorded no sizes.
    """
    notes = []
    for task in dict.fromkeys(row.task for row in rows):
        runs = [run for row in rows if row.task == task and row.name != ZERO_SHOT for run in row.runs]
        target, general, held_out = (drawn(runs, pool) for pool in ("target", "general", "evaluation"))
        if target is not None:
            notes.append(
                f"Trained on {target} target and {general or 0} general examples, measured on {held_out or 0} held-out ones."
            )
    return notes


def row_notes(rows: Sequence[Row]) -> list[str]:
    """Notes that a reader of a table needs besides its figures.

    Args:
        rows: Rows from `tabulate`.

    Returns:
        Sentences about runs that were left out because their seed is repeated, and about points that differ in data only.
    """
    notes = []
    for row in rows:
        if row.repeated:
            seeds = ", ".join(dict.fromkeys(str(run.config["seed"]) for run in row.repeated))
            names = ", ".join(run.folder.name for run in row.repeated)
            notes.append(f"left out of {row.label}: {names}. Seed {seeds} is represented by the run that began first.")
    if any(is_told_by_data(row.label) for row in rows):
        notes.append(
            "Points that differ in data=… alone have the same configuration, but their data, tokenizer or model changed in "
            "between: they are not averaged. To compare them, train again under another sweep=…."
        )
    return notes
