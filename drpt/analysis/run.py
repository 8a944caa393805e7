"""One run as its folder tells it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from drpt.analysis.yardstick import STATISTICS, Yardstick
from drpt.analysis.yardsticks import SFT
from drpt.metrics import METRICS_FILE, read_metrics

SUMMARY_FILE = "summary.json"
CONFIG_FILE = "config.yaml"
SAMPLES_FILE = "samples.json"
OUTCOMES_FILE = "outcomes.json"
ENVIRONMENT_FILE = "environment.json"
COMMANDS_FILE = "commands.jsonl"
DATA_FILE = "data.json"
CHECKPOINTS = "checkpoints"


class ResultsError(ValueError):
    """A folder does not hold what was expected; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that has been started; only finished ones have all of it."""

    folder: Path
    config: dict[str, Any]
    summary: dict[str, Any]
    metrics: list[dict[str, Any]]  # see read_metrics
    samples: list[dict[str, Any]]  # prompt, expected, answer, is_correct; reward where there is one
    outcomes: list[dict[str, Any]] = field(default_factory=list)  # of verifiers: step, term, outcome, count, share

    @property
    def is_finished(self) -> bool:
        """Whether all steps were taken and measured."""
        return self.summary["status"] == "finished"

    @property
    def label(self) -> str:
        """The regularizer's name and dials."""
        return str(self.summary["label"])

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self.config["task"]["name"])

    @property
    def regularizer(self) -> dict[str, Any]:
        """The `regularizer` section of the configuration."""
        return dict(self.config["regularizer"])

    def curve(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one metric."""
        points = [(line["step"], line["value"]) for line in self.metrics if line["name"] == name]
        return [step for step, _ in points], [value for _, value in points]


def read_run(folder: Path) -> Run:
    """Read a run's folder.

    Args:
        folder: With ``config.yaml`` and ``summary.json``.

    Returns:
        The run.

    Raises:
        ResultsError: A file is missing or unreadable.
    """
    try:
        return Run(
            folder=folder,
            config=yaml.safe_load((folder / CONFIG_FILE).read_text()),
            summary=json.loads((folder / SUMMARY_FILE).read_text()),
            metrics=read_metrics(folder / METRICS_FILE),
            samples=_read_list(folder / SAMPLES_FILE),
            outcomes=_read_list(folder / OUTCOMES_FILE),
        )
    except (OSError, ValueError) as error:
        raise ResultsError(f"{folder} is no run's folder: {error}") from error


def _read_list(path: Path) -> list[dict[str, Any]]:
    """What a run may leave and need not."""
    return list(json.loads(path.read_text())) if path.exists() else []


def read_sweep(folder: Path) -> list[Run]:
    """Every run of a sweep, in the order of their names.

    Args:
        folder: A sweep's, or a single run's.

    Returns:
        At least one run, finished or not.

    Raises:
        ResultsError: There is none.
    """
    if (folder / SUMMARY_FILE).exists():
        return [read_run(folder)]
    folders = sorted(path.parent for path in folder.glob(f"*/{SUMMARY_FILE}"))
    if not folders:
        raise ResultsError(f"{folder}: no run here. Make some with `drpt train -m …`, or give the folder of a sweep.")
    return [read_run(path) for path in folders]


def newest_sweep(runs_folder: Path) -> Path:
    """The sweep that was written to last.

    Args:
        runs_folder: Where sweeps are.

    Returns:
        Its folder.

    Raises:
        ResultsError: There is none.
    """
    summaries = list(runs_folder.glob(f"*/*/{SUMMARY_FILE}"))
    if not summaries:
        raise ResultsError(f"no sweep under {runs_folder}/: make one with `drpt train -m …`, or name its folder.")
    return max(summaries, key=lambda path: path.stat().st_mtime).parent.parent


def summarize(metrics: Sequence[dict[str, Any]], selected_step: int, yardstick: Yardstick = SFT) -> dict[str, dict[str, float]]:
    """Figures of a run that tables are made of.

    Args:
        metrics: See `read_metrics`.
        selected_step: The step whose model counts: the last, or where the run was stopped early.
        yardstick: What counts in the run's task.

    Returns:
        ``start``: held-out figures before training; ``final``: those at ``selected_step`` and the costs (median seconds
        a step, largest memory, sums, and what else the task declares); ``best``: the primary metric's best value of all
        evaluations and its step, which was looked at afterwards and chose nothing.
    """
    held_out = [line for line in metrics if line["name"].startswith(("target/", "stopping/"))]
    start = {line["name"]: line["value"] for line in held_out if line["step"] == 0}
    final = {line["name"]: line["value"] for line in held_out if line["step"] <= selected_step}
    values = _values_by_metric(metrics)
    for reduction in yardstick.reductions:
        if found := values.get(reduction.metric):
            final[f"{reduction.metric}/{reduction.statistic}"] = float(STATISTICS[reduction.statistic](found))
    for name, found in _values_by_metric(_late(metrics, selected_step)).items():
        if name in yardstick.late:
            final[f"{name}/late"] = fmean(found)
    final |= yardstick.derive(values)
    primary = yardstick.primary.metric
    sign = 1.0 if yardstick.is_lower_better else -1.0
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
