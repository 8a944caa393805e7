"""Reads and checks the files of one run's folder, for tables, charts, pages and `drpt outcome`."""

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
# Files whose checksums are in a finished run's summary: configuration, fingerprints of the data, and measurements.
CHECKED_FILES = (CONFIG_FILE, DATA_FILE)
MEASURED_FILES = (METRICS_FILE, SAMPLES_FILE, OUTCOMES_FILE)


class ResultsError(ValueError):
    """A folder does not have the expected files; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that has begun; only finished runs have all of its files.

    Configuration and summary are read and checked at once. Longer files, which tables do not need, are read on demand.
    """

    folder: Path
    config: dict[str, Any]  # configuration; not to be changed, since runs share parts of it
    summary: dict[str, Any]
    data: dict[str, Any] = field(default_factory=dict)  # fingerprints of data, files and model; empty if none are recorded

    @property
    def is_finished(self) -> bool:
        """Whether the run took all its steps and was evaluated."""
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
        """The settings that replicates share (`drpt.run_identity.settings_of`)."""
        return settings_of(self.config)

    @cached_property
    def point(self) -> str:
        """A checksum of the settings (`drpt.run_identity.point_of`)."""
        return point_of(self.config)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """All records of metrics (see `read_metrics`); raises `ResultsError` if they are unreadable or incomplete.

        They are read at every call, since those of thousands of runs would not fit into memory.
        """
        with reading(self.folder / METRICS_FILE, ResultsError):
            self._check_unchanged(METRICS_FILE)
            lines = checked_metrics(read_metrics(self.folder / METRICS_FILE))
            self._check_end(lines)
            return lines

    @cached_property
    def samples(self) -> list[dict[str, Any]]:
        """Answers with prompt, expected, answer, is_correct and perhaps reward; raises `ResultsError` as `metrics` does."""
        with reading(self.folder / SAMPLES_FILE, ResultsError):
            self._check_unchanged(SAMPLES_FILE)
            return checked_samples(read_json(self.folder / SAMPLES_FILE, missing=[]))

    @cached_property
    def outcomes(self) -> list[dict[str, Any]]:
        """Verifier outcomes with step, term, outcome, count and share; raises `ResultsError` as `metrics` does."""
        with reading(self.folder / OUTCOMES_FILE, ResultsError):
            self._check_unchanged(OUTCOMES_FILE)
            return checked_outcomes(read_json(self.folder / OUTCOMES_FILE, missing=[]))

    @cached_property
    def faults(self) -> dict[str, str]:
        """Files read on demand that cannot be used, each with the reason."""
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
        """Check that a finished run's metrics agree with the figures in its summary."""
        if not self.is_finished:
            return
        if not lines:
            raise FileFaultError("is missing or empty")
        primary = task_metrics_of(self.task).primary.metric
        measured = [line for line in lines if line["name"] == primary]
        if not measured or "selected_step" not in self.summary:  # the earliest versions
            return
        selected, last = self.summary["selected_step"], measured[-1]["step"]
        values = [line["value"] for line in measured if line["step"] <= selected]
        if last < self.summary.get("steps", last) or values[-1:] != [self.summary["final"][primary]]:
            raise FileFaultError(f"is incomplete: its last {primary}, of step {last}, is not the one in {SUMMARY_FILE}")


def read_run(folder: Path) -> Run:
    """Read a run's folder.

    Args:
        folder: Folder with ``config.yaml``, ``summary.json`` and, except for early versions, ``data.json``.

    Returns:
        The run; all figures of a finished run are numbers.

    Raises:
        ResultsError: A file is missing, unreadable, or lacks something that a table needs; the message names the file.
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
    """Check that a finished run has all figures of a table, and that none is NaN; infinities are allowed."""
    task_metrics = task_metrics_of(run.task)
    for column in task_metrics.columns:
        value = run.summary[column.section].get(column.metric)
        if value is not None and value != value:
            raise FileFaultError(f"has NaN for {column.section} {column.metric}")
    if task_metrics.final.metric not in run.summary["final"]:
        raise FileFaultError(f"has no final {task_metrics.final.metric}")


def summarize(
    metrics: Sequence[dict[str, Any]], selected_step: int, task_metrics: TaskMetrics = SFT
) -> dict[str, dict[str, float]]:
    """Compute the figures of a run that tables show.

    Args:
        metrics: Records of metrics from `read_metrics`.
        selected_step: Step of the model that counts: the last one, or an earlier one if the run was stopped early.
        task_metrics: Metrics of the run's task.

    Returns:
        ``start``: held-out figures before training. ``final``: held-out figures at ``selected_step``, and costs (median seconds
        of a step, largest memory, sums, and others that the task declares). ``best``: the best value of the primary metric in
        all evaluations, and its step; it is for information only.
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
    """Records of the last tenth of the steps up to the selected one."""
    return [line for line in metrics if 0.9 * selected_step < line["step"] <= selected_step]
