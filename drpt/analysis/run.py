"""One run as its folder tells it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from drpt.analysis.run_files import (
    FileFaultError,
    check_unchanged,
    checked_config,
    checked_mapping,
    checked_metrics,
    checked_outcomes,
    checked_samples,
    checked_summary,
    read_json,
    read_yaml,
    reading,
)
from drpt.metrics import METRICS_FILE, read_metrics
from drpt.run_identity import point_of, settings_of
from drpt.tasks.find import task_metrics_of
from drpt.tasks.sft.metrics import SFT
from drpt.tasks.task_metrics import STATISTICS, TaskMetrics

SUMMARY_FILE = "summary.json"
CONFIG_FILE = "config.yaml"
SAMPLES_FILE = "samples.json"
OUTCOMES_FILE = "outcomes.json"
ENVIRONMENT_FILE = "environment.json"
COMMANDS_FILE = "commands.jsonl"
DATA_FILE = "data.json"
CHECKPOINTS = "checkpoints"
LOCK_FILE = ".lock"
# Files whose checksums stand in a finished run's summary: what it is and what it was made from, and what it measured.
CHECKED_FILES = (CONFIG_FILE, DATA_FILE)
MEASURED_FILES = (METRICS_FILE, SAMPLES_FILE, OUTCOMES_FILE)


class ResultsError(ValueError):
    """A folder does not hold what was expected; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that has been started; only finished ones have all of it.

    Configuration and summary are read and checked at once, the longer files when they are asked for: a table needs none of
    them.
    """

    folder: Path
    config: dict[str, Any]  # never changed: parts of it are shared with other runs
    summary: dict[str, Any]
    data: dict[str, Any] = field(default_factory=dict)  # fingerprints of what it was made from; empty where none are recorded

    @property
    def is_finished(self) -> bool:
        """Whether all steps were taken and measured."""
        return self.summary["status"] == "finished"

    @property
    def label(self) -> str:
        """The regularizer's name and dials."""
        return str(self.summary.get("label", self.folder.name))

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self.config["task"]["name"])

    @property
    def regularizer(self) -> dict[str, Any]:
        """The `regularizer` section of the configuration."""
        return dict(self.config["regularizer"])

    @cached_property
    def settings(self) -> dict[str, object]:
        """What two replicates have in common, see `drpt.run_identity.settings_of`."""
        return settings_of(self.config)

    @cached_property
    def point(self) -> str:
        """A checksum of the settings, see `drpt.run_identity.point_of`."""
        return point_of(self.config)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics, see `read_metrics`; a `ResultsError` where they cannot be read or are not whole.

        Read at every call: of thousands of runs they would not fit into memory.
        """
        with reading(self.folder / METRICS_FILE, ResultsError):
            self._check_unchanged(METRICS_FILE)
            lines = checked_metrics(read_metrics(self.folder / METRICS_FILE))
            self._check_end(lines)
            return lines

    @cached_property
    def samples(self) -> list[dict[str, Any]]:
        """Answers: prompt, expected, answer, is_correct, and reward where there is one; a `ResultsError` as for metrics."""
        with reading(self.folder / SAMPLES_FILE, ResultsError):
            self._check_unchanged(SAMPLES_FILE)
            return checked_samples(read_json(self.folder / SAMPLES_FILE, missing=[]))

    @cached_property
    def outcomes(self) -> list[dict[str, Any]]:
        """What verifiers found: step, term, outcome, count, share; a `ResultsError` as for metrics."""
        with reading(self.folder / OUTCOMES_FILE, ResultsError):
            self._check_unchanged(OUTCOMES_FILE)
            return checked_outcomes(read_json(self.folder / OUTCOMES_FILE, missing=[]))

    @cached_property
    def faults(self) -> dict[str, str]:
        """Of the files that are read when they are asked for, those that cannot be used, each with the reason."""
        found = {}
        for file, name in ((METRICS_FILE, "_curves"), (SAMPLES_FILE, "samples"), (OUTCOMES_FILE, "outcomes")):
            try:
                getattr(self, name)
            except ResultsError as error:
                found[file] = str(error)
        return found

    def curve(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one metric."""
        return self._curves.get(name, ([], []))

    @cached_property
    def _curves(self) -> dict[str, tuple[list[int], list[float]]]:
        curves: dict[str, tuple[list[int], list[float]]] = {}
        for line in self.metrics:
            steps, values = curves.setdefault(line["name"], ([], []))
            steps.append(line["step"])
            values.append(line["value"])
        return curves

    def _check_unchanged(self, name: str) -> None:
        if self.is_finished:
            check_unchanged(self.folder / name, self.summary)

    def _check_end(self, lines: Sequence[dict[str, Any]]) -> None:
        """A finished run's lines must lead to the figures that its summary took from them."""
        if not self.is_finished:
            return
        if not lines:
            raise FileFaultError("is missing or empty")
        primary = task_metrics_of(self.task).primary.metric
        measured = [line for line in lines if line["name"] == primary]
        if not measured or "selected_step" not in self.summary:  # as of the earliest versions
            return
        selected, last = self.summary["selected_step"], measured[-1]["step"]
        values = [line["value"] for line in measured if line["step"] <= selected]
        if last < self.summary.get("steps", last) or values[-1:] != [self.summary["final"][primary]]:
            raise FileFaultError(f"is not whole: its last {primary} is of step {last}, and not what {SUMMARY_FILE} says")


def read_run(folder: Path) -> Run:
    """Read a run's folder.

    Args:
        folder: With ``config.yaml`` and ``summary.json``; and ``data.json``, unless it is of a version that wrote none.

    Returns:
        The run; figures of a finished one are numbers.

    Raises:
        ResultsError: A file is missing or unreadable, or does not hold what a table needs; the message names the file.
    """
    with reading(folder / SUMMARY_FILE, ResultsError):
        summary = checked_summary(read_json(folder / SUMMARY_FILE))
    with reading(folder / CONFIG_FILE, ResultsError):
        config = checked_config(read_yaml(folder / CONFIG_FILE))
    with reading(folder / DATA_FILE, ResultsError):
        data = checked_mapping(read_json(folder / DATA_FILE, missing={}))
    run = Run(folder=folder, config=config, summary=summary, data=data)
    for name in CHECKED_FILES:
        with reading(folder / name, ResultsError):
            run._check_unchanged(name)
    with reading(folder / SUMMARY_FILE, ResultsError):
        if run.is_finished:
            _check_figures(run)
    return run


def _check_figures(run: Run) -> None:
    """What a table shows of a finished run must be there and be numbers; an infinite one is a number."""
    task_metrics = task_metrics_of(run.task)
    for column in task_metrics.columns:
        value = run.summary[column.section].get(column.metric)
        if value is not None and value != value:
            raise FileFaultError(f"holds NaN for {column.section} {column.metric}")
    if task_metrics.final.metric not in run.summary["final"]:
        raise FileFaultError(f"holds no final {task_metrics.final.metric}")


def summarize(
    metrics: Sequence[dict[str, Any]], selected_step: int, task_metrics: TaskMetrics = SFT
) -> dict[str, dict[str, float]]:
    """Figures of a run that tables are made of.

    Args:
        metrics: See `read_metrics`.
        selected_step: The step whose model counts: the last, or where the run was stopped early.
        task_metrics: What counts in the run's task.

    Returns:
        ``start``: held-out figures before training; ``final``: those at ``selected_step`` and the costs (median seconds
        a step, largest memory, sums, and what else the task declares); ``best``: the primary metric's best value of all
        evaluations and its step, which was looked at afterwards and chose nothing.
    """
    held_out = [line for line in metrics if line["name"].startswith(("target/", "stopping/"))]
    start = {line["name"]: line["value"] for line in held_out if line["step"] == 0}
    final = {line["name"]: line["value"] for line in held_out if line["step"] <= selected_step}
    values = _values_by_metric(metrics)
    for reduction in task_metrics.reductions:
        if found := values.get(reduction.metric):
            final[f"{reduction.metric}/{reduction.statistic}"] = float(STATISTICS[reduction.statistic](found))
    for name, found in _values_by_metric(_late(metrics, selected_step)).items():
        if name in task_metrics.late:
            final[f"{name}/late"] = fmean(found)
    final |= task_metrics.derive(values)
    primary = task_metrics.primary.metric
    sign = 1.0 if task_metrics.is_lower_better else -1.0
    measured = [(sign * line["value"], line["step"]) for line in held_out if line["name"] == primary]
    best = {}
    if measured:
        value, step = min(measured)
        best = {primary: sign * value, "step": float(step)}
    return {"start": start, "final": final, "best": best}


def _values_by_metric(metrics: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Values in the order of writing, by the metric's name without its statistic."""
    values: dict[str, list[float]] = {}
    for line in metrics:
        values.setdefault(line["name"].rpartition("/")[0], []).append(line["value"])
    return values


def _late(metrics: Sequence[dict[str, Any]], selected_step: int) -> list[dict[str, Any]]:
    """Lines of the last tenth of the steps up to the selected one."""
    return [line for line in metrics if 0.9 * selected_step < line["step"] <= selected_step]
