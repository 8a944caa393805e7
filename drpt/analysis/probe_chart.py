"""The bias–variance trade-off in one picture: families as curves through their strengths, one panel a partition."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from drpt.analysis.bias_variance import Direction
from drpt.geometry.spec import RegularizerSpec

_COLOURS = {
    "mix": "#009E73",
    "subset": "#D55E00",
    "random_subset": "#CC79A7",
    "filter": "#E69F00",
    "hull": "#0072B2",
    "cone": "#56B4E9",
    "span": "#8C564B",
    "halfspace": "#6A3D9A",
    "dual_cone": "#B15928",
    "target_only": "#222222",
    "full": "#7a7a7a",
}
_ENDS = ("target_only", "full")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One rule and what was measured of it."""

    rule: RegularizerSpec
    direction: Direction


def draw_probe(points: Sequence[Point], title: str) -> bytes:
    """Bias² against variance above, mean squared error against strength below; a column a partition.

    Dotted lines join equal mean squared error; the cross at the origin is the oracle v*; rules that do not depend on the
    partition stand in every panel.

    Args:
        points: All measured rules.
        title: Above all.

    Returns:
        A PNG.
    """
    partitions = list(dict.fromkeys(point.rule.partition for point in points))
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(4.2 * len(partitions) + 1.6, 8.2), dpi=130, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, len(partitions), squeeze=False, sharey="row")
        limits = _limits(points)
        for column, partition in enumerate(partitions):
            shown = [p for p in points if p.rule.partition in {partition, "global"} and _belongs(p, partition)]
            _draw_plane(axes[0][column], shown, limits)
            axes[0][column].set_title(f"{partition} partition")
            _draw_errors(axes[1][column], shown)
        axes[0][0].set_ylabel("variance / ‖v*‖²")
        axes[1][0].set_ylabel("mean squared error / ‖v*‖²")
        handles, labels = axes[0][-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", frameon=False)
        figure.suptitle(title)
        image = io.BytesIO()
        figure.savefig(image, format="png")
    return image.getvalue()


def _belongs(point: Point, partition: str) -> bool:
    return point.rule.partition == partition or point.rule.name in {"target_only", "full", "mix"}


def _limits(points: Sequence[Point]) -> tuple[float, float, float]:
    """Lowest and highest bias², highest variance: room for every point but those far beyond both ends of the spectrum."""
    ends = [point.direction for point in points if point.rule.name in _ENDS]
    cap = 2.0 * max(direction.mse for direction in ends)
    biases = [p.direction.bias_sq for p in points if p.direction.mse <= cap]
    variances = [p.direction.variance for p in points if p.direction.mse <= cap]
    # An unbiased estimate of a bias² near zero may be below it.
    return min(0.0, *biases), 1.08 * max(biases), 1.08 * max(variances)


def _draw_plane(axes: Axes, points: Sequence[Point], limits: tuple[float, float, float]) -> None:
    low, bias_high, variance_high = limits
    total = bias_high + variance_high
    for level in np.linspace(total / 8, total, 8):
        axes.plot([0, level], [level, 0], ":", color="#cccccc", linewidth=0.8, zorder=0)
    axes.plot([0], [0], "x", color="black", markersize=8, label="oracle v*")
    for name, members in _families(points).items():
        style = "*" if name in _ENDS else "o-"
        axes.errorbar(
            [p.direction.bias_sq for p in members],
            [p.direction.variance for p in members],
            xerr=[p.direction.bias_sq_stderr for p in members],
            yerr=[p.direction.variance_stderr for p in members],
            fmt=style,
            color=_COLOURS[name],
            markersize=13 if name in _ENDS else 4,
            linewidth=1.3,
            elinewidth=0.5,
            label=name,
        )
    axes.set_xlim(low - 0.05 * bias_high, bias_high)
    axes.set_ylim(-0.03 * variance_high, variance_high)
    axes.set_xlabel("bias² / ‖v*‖²")


def _draw_errors(axes: Axes, points: Sequence[Point]) -> None:
    for name, members in _families(points).items():
        strengths = [float(p.rule.strength) for p in members if p.rule.strength is not None]
        errors = [p.direction.mse for p in members]
        if not strengths:
            axes.axhline(errors[0], linestyle="--", color=_COLOURS[name], linewidth=1)
        else:
            # A ridge runs to infinity: it is shown on the same axis as ridge/(1 + ridge).
            places = [s / (1 + s) if name == "span" else s for s in strengths]
            stderrs = [p.direction.mse_stderr for p in members]
            axes.errorbar(places, errors, yerr=stderrs, fmt="o-", color=_COLOURS[name], markersize=4, linewidth=1.3)
    axes.set_xlabel("strength λ (span: λ/(1+λ)); dashed: none")
    axes.set_xlim(-0.03, 1.03)
    ends = [p.direction.mse for p in points if p.rule.name in _ENDS]
    axes.set_ylim(0, 1.6 * max(ends))


def _families(points: Sequence[Point]) -> dict[str, list[Point]]:
    families: dict[str, list[Point]] = {}
    for point in points:
        families.setdefault(point.rule.name, []).append(point)
    return families
