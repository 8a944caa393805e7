"""Draws probe.png: the bias–variance trade-off, with a curve through the strengths of each family, one column a partition."""

import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from drpt.analysis.probe_grid import colour_of
from drpt.analysis.probe_points import ENDS, Point, Probe, families, limits


def draw_probe(probe: Probe, size: tuple[int, int]) -> bytes:
    """Draw bias² against variance above, and mean squared error against strength below, with a column for each partition.

    Dotted lines join equal mean squared error, the cross at the origin is the oracle v*, and diamonds are automatic strengths.
    Rules that do not depend on the partition are drawn in every panel.

    Args:
        probe: Result of the probe.
        size: Batch size (n, m) to show.

    Returns:
        The picture as PNG.
    """
    style = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "text.parse_math": False}
    with mpl.rc_context(style):  # type: ignore[arg-type]  # its stub wants a literal type for each key
        columns = len(probe.partitions)
        figure = Figure(figsize=(4.2 * columns + 1.8, 8.6), dpi=130, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, columns, squeeze=False, sharey="row")
        bounds = limits(probe.of(size))
        for column, partition in enumerate(probe.partitions):
            shown = probe.of(size, partition=partition)
            _draw_plane(axes[0][column], shown, bounds)
            axes[0][column].set_title(f"{partition} partition")
            _draw_errors(axes[1][column], shown)
        axes[0][0].set_ylabel("variance / ‖v*‖²")
        axes[1][0].set_ylabel("mean squared error / ‖v*‖²")
        handles, labels = axes[0][-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", frameon=False)
        figure.supxlabel(
            "Above: lower left is better, dotted lines join equal mean squared error. Below: strength λ, as λ/(1+λ) for ridges "
            "and margins and as 1−ρ for relaxed sets; dashed: none; diamonds: automatic.",
            fontsize=9,
        )
        figure.suptitle(f"{probe.title}; n={size[0]}, m={size[1]}")
        image = io.BytesIO()
        figure.savefig(image, format="png")
    return image.getvalue()


def _draw_plane(axes: Axes, points: Sequence[Point], bounds: tuple[float, float, float]) -> None:
    low, bias_high, variance_high = bounds
    total = bias_high + variance_high
    for level in np.linspace(total / 8, total, 8):
        axes.plot([0, level], [level, 0], ":", color="#999999", linewidth=0.7, zorder=0)
    axes.plot([0], [0], "x", color="black", markersize=8, label="oracle v*")
    for name, members in families(points).items():
        axes.errorbar(
            [p.direction.bias_sq for p in members],
            [p.direction.variance for p in members],
            xerr=[p.direction.bias_sq_stderr for p in members],
            yerr=[p.direction.variance_stderr for p in members],
            fmt="*" if name in ENDS else "o-",
            color=colour_of(members[0].rule),
            markersize=13 if name in ENDS else 4,
            linewidth=1.3,
            elinewidth=0.5,
            label=name,
        )
    for point in points:
        if point.is_auto:
            place = (point.direction.bias_sq, point.direction.variance)
            axes.plot(*place, "D", color=colour_of(point.rule), markeredgecolor="black", label=point.label)
    axes.set_xlim(low - 0.05 * bias_high, bias_high)
    axes.set_ylim(-0.03 * variance_high, variance_high)
    axes.set_xlabel("bias² / ‖v*‖²")


def _draw_errors(axes: Axes, points: Sequence[Point]) -> None:
    for members in families(points).values():
        errors = [p.direction.mse for p in members]
        places = [place for p in members if (place := p.place()) is not None]
        if not places:
            axes.axhline(errors[0], linestyle="--", color=colour_of(members[0].rule), linewidth=1)
        else:
            stderrs = [p.direction.mse_stderr for p in members]
            axes.errorbar(
                places,
                errors,
                yerr=stderrs,
                fmt="o-",
                color=colour_of(members[0].rule),
                markersize=4,
                linewidth=1.3,
                elinewidth=0.5,
            )
    for point in points:
        if point.is_auto:
            axes.plot([-0.02], [point.direction.mse], "D", color=colour_of(point.rule), markeredgecolor="black", markersize=5)
    axes.set_xlabel("strength, weak to strong")
    axes.set_xlim(-0.05, 1.03)
    ends = [p.direction.mse for p in points if p.rule.name in ENDS]
    axes.set_ylim(0, 1.6 * max(ends) if ends else None)
