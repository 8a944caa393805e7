"""The data of charts: metrics over steps, and final values against strength. Shared by the PNG and the HTML page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from drpt.analysis.run import Run
from drpt.analysis.table import ZERO_SHOT, Estimate, Row, estimate
from drpt.metrics import METRICS_FILE
from drpt.tasks.find import task_metrics_of
from drpt.tasks.task_metrics import Quantity, TaskMetrics

ENDS = {"target_only": 0.0, "full": 1.0}  # of the spectrum, and the strength they stand for: none, and nothing else

_MOST_WINDOWS = 25

# The palette of Okabe and Ito, distinguishable with any colour vision. The two ends have colours of their own.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_COLOURS = {"target_only": "#222222", "target_only_stopped": "#7a7a7a", "full": "#8C564B", ZERO_SHOT: "#bbbbbb"}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One metric of one point over steps."""

    label: str
    name: str
    steps: list[float]
    values: list[Estimate]


@dataclass(frozen=True, kw_only=True)
class Family:
    """Final value of one regularizer over its strengths."""

    name: str
    strengths: list[float]
    values: list[Estimate]


def charted_runs(row: Row) -> list[Run]:
    """Runs of a point whose metrics files are intact; damaged ones are named beside the curves."""
    return [run for run in row.runs if METRICS_FILE not in run.faults]


def curves_of(rows: Sequence[Row], metric: str) -> list[Curve]:
    """One curve for each trained point, at the steps at which all its seeds were evaluated.

    Args:
        rows: Rows from `drpt.analysis.table.tabulate`.
        metric: Name of a held-out metric.

    Returns:
        Means over seeds; points without the metric are left out.
    """
    curves = []
    for row in rows:
        if row.name == ZERO_SHOT:
            continue
        by_seed = [dict(zip(*run.curve(metric), strict=True)) for run in charted_runs(row)]
        steps = _common(by_seed)
        values = [estimate([values[step] for values in by_seed]) for step in steps]
        curves.append(Curve(label=row.label, name=row.name, steps=[*steps], values=values))
    return [curve for curve in curves if curve.steps]


def is_measured(rows: Sequence[Row], quantity: Quantity) -> bool:
    """Whether some run has a curve of a quantity."""
    return any(run.curve(quantity.metric)[0] for row in rows for run in charted_runs(row))


def window_of(rows: Sequence[Row], metric: str) -> int:
    """Number of steps to average a training metric over, so that each run has a value in nearly every window.

    Args:
        rows: Rows from `drpt.analysis.table.tabulate`.
        metric: Name of a metric that is logged every step, or every few steps.

    Returns:
        The window, at least 1; no curve then has more than `_MOST_WINDOWS` points.
    """
    found = [run.curve(metric)[0] for row in rows if row.name != ZERO_SHOT for run in charted_runs(row)]
    return max([1, *(math.ceil(max(steps) / min(_MOST_WINDOWS, len(set(steps)))) for steps in found if steps)])


def windowed_curves(rows: Sequence[Row], metric: str, window: int) -> list[Curve]:
    """One averaged curve for each trained point, for metrics that are noisy or logged at different steps.

    Args:
        rows: Rows from `drpt.analysis.table.tabulate`.
        metric: Name of a training metric.
        window: Number of steps to average over, from `window_of`.

    Returns:
        Means over seeds of the mean in each window, at the middle of the window; windows in which a seed has no value are
        left out.
    """
    curves = []
    for row in rows:
        if row.name == ZERO_SHOT:
            continue
        by_seed = [_window_means(run.curve(metric), window) for run in charted_runs(row)]
        places = _common(by_seed)
        steps = [place * window + (window + 1) / 2 for place in places]
        values = [estimate([means[place] for means in by_seed]) for place in places]
        curves.append(Curve(label=row.label, name=row.name, steps=steps, values=values))
    return [curve for curve in curves if curve.steps]


def _common(by_seed: Sequence[Mapping[int, float]]) -> list[int]:
    """Steps or windows at which all seeds have a value."""
    return sorted(set.intersection(*map(set, by_seed))) if by_seed else []


def _window_means(curve: tuple[list[int], list[float]], window: int) -> dict[int, float]:
    """Means by index of the window; window 0 begins with step 1."""
    values: dict[int, list[float]] = {}
    for step, value in zip(*curve, strict=True):
        values.setdefault((step - 1) // window, []).append(value)
    return {place: fmean(found) for place, found in values.items()}


def strength_families(rows: Sequence[Row]) -> list[Family]:
    """Points that have a strength, by regularizer, weakest first."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        if row.strength is not None:
            # Points that differ in more than the strength say so in their label; each is a family of its own.
            key = " ".join([row.name, *(part for part in row.label.split(" ")[1:] if not part.startswith("λ="))])
            families.setdefault(key, []).append(row)
    return [
        Family(
            name=name,
            strengths=[float(row.strength or 0.0) for row in members],
            values=[row.primary for row in members],
        )
        for name, members in families.items()
    ]


def are_swept(families: Sequence[Family]) -> bool:
    """Whether some regularizer has several strengths, so that there is a line to draw."""
    return any(len(set(family.strengths)) > 1 for family in families)


def reference_values(rows: Sequence[Row]) -> dict[str, Estimate]:
    """Final values of the drawn points without a strength, by label; charts mark them as lines."""
    return {row.label: row.primary for row in within_reach(rows)[0] if row.strength is None}


def within_reach(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Split points into those to draw, and untrained models that would squeeze all others into a corner.

    Args:
        rows: Rows of a table, all of one task.

    Returns:
        Points to draw: all trained ones and, if the task's charts show the start, untrained models that are no further from
        them than they are from each other. And points to be named instead.
    """
    trained = [row for row in rows if row.name != ZERO_SHOT]
    starts = [row for row in rows if row.name == ZERO_SHOT and task_metrics_of(row.task).shows_start and row.primary.count]
    values = [row.primary.mean for row in trained if math.isfinite(row.primary.mean)]
    if len(values) < 2:  # no spread to compare with
        return [*starts, *trained], []
    low, high = min(values), max(values)
    inside = [row for row in starts if 2 * low - high <= row.primary.mean <= 2 * high - low]
    return [*inside, *trained], [row for row in starts if row not in inside]


def not_drawn(rows: Sequence[Row]) -> str:
    """A note about points that charts of final values leave out; empty if there are none."""
    final = task_metrics_of(rows[0].task).final
    outside = [f"{row.label} {row.primary.show(final.digits)}" for row in within_reach(rows)[1]]
    return f"not drawn: {', '.join(outside)}" if outside else ""


def strongest(families: Sequence[Family]) -> float:
    """Right end of the strength axis: 1, or the largest ridge."""
    return max([1.0, *(max(family.strengths) for family in families)])


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """A colour for each regularizer's name, the same in all charts of a sweep."""
    others = [name for name in dict.fromkeys(names) if name not in _COLOURS]
    return _COLOURS | {name: _PALETTE[i % len(_PALETTE)] for i, name in enumerate(others)}


def strength_shades(curves: Sequence[Curve], name: str) -> dict[str, float]:
    """Opacity of one regularizer's curves, from light for its weakest strength to full for its strongest."""
    labels = [curve.label for curve in curves if curve.name == name]
    return {label: 1.0 if len(labels) == 1 else 0.45 + 0.55 * i / (len(labels) - 1) for i, label in enumerate(labels)}


def axis_range(curves: Sequence[Curve], task_metrics: TaskMetrics) -> tuple[float, float] | None:
    """Bounds of the loss axis that show where curves differ: from the lowest value to the highest after the start.

    The start is the same for all curves and often far above; it may lie outside of the picture.

    Args:
        curves: Curves to draw.
        task_metrics: Metrics of the runs' task.

    Returns:
        Lowest and highest loss to show; None if there is no finite loss after the start, or if the start must be shown.
    """
    values = [value.mean for curve in curves for value in curve.values[1:] if math.isfinite(value.mean)]
    if not values or task_metrics.shows_start:
        return None
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 0.05
    return low - margin, high + margin
