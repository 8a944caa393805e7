"""The sweep's picture for a README or a paper."""

import io
import math
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from drpt.analysis.curves import (
    ENDS,
    axis_range,
    colours_of,
    loss_curves,
    reference_losses,
    strength_families,
    strength_shades,
    strongest,
)
from drpt.analysis.table import Row

_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
_MARKERS = ("o", "s", "D", "^", "v", "P")


def draw_chart(rows: Sequence[Row], title: str) -> bytes:
    """Held-out loss over steps beside final loss against strength.

    Args:
        rows: See `drpt.analysis.table.tabulate`.
        title: Above both.

    Returns:
        A PNG.
    """
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]  # its stub wants a literal type for each key
        # A sweep of many points needs room below for all their names.
        figure = Figure(figsize=(12.5, 5.4 + 0.085 * len(rows)), dpi=150)
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1.0))
        _draw_curves(left, rows)
        _draw_strengths(right, rows)
        figure.suptitle(title, fontsize=12)
        image = io.BytesIO()
        figure.savefig(image, format="png")
    return image.getvalue()


def _draw_curves(axes: Axes, rows: Sequence[Row]) -> None:
    curves = loss_curves(rows)
    colours = colours_of([curve.name for curve in curves])
    for curve in curves:
        alpha = strength_shades(curves, curve.name)[curve.label]
        means = [loss.mean for loss in curve.losses]
        style = "--" if curve.name == "target_only_stopped" else "-"
        colour = colours[curve.name]
        axes.plot(curve.steps, means, style, color=colour, alpha=alpha, label=curve.label, marker=".", linewidth=1.6)
        errors = [0.0 if math.isnan(loss.stderr) else loss.stderr for loss in curve.losses]
        if any(errors):
            lower = [mean - error for mean, error in zip(means, errors, strict=True)]
            upper = [mean + error for mean, error in zip(means, errors, strict=True)]
            axes.fill_between(curve.steps, lower, upper, color=colour, alpha=0.12, linewidth=0)
    if (bounds := axis_range(curves)) is not None:
        axes.set_ylim(*bounds)
    axes.set_title("Held-out loss during training", fontsize=11)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("held-out target loss (nats per token)")
    _legend_below(axes)


def _draw_strengths(axes: Axes, rows: Sequence[Row]) -> None:
    families = strength_families(rows)
    colours = colours_of([row.name for row in rows])
    for i, family in enumerate(families):
        errors = [0.0 if math.isnan(loss.stderr) else loss.stderr for loss in family.losses]
        axes.errorbar(
            family.strengths,
            [loss.mean for loss in family.losses],
            yerr=errors if any(errors) else None,
            color=colours[family.name.split(" ")[0]],
            marker=_MARKERS[i % len(_MARKERS)],
            markersize=6,
            linewidth=1.6,
            capsize=3,
            label=family.name,
        )
    for label, loss in reference_losses(rows).items():
        colour = colours[label.split(" ")[0]]
        axes.axhline(loss.mean, color=colour, linestyle="--", linewidth=1.2, label=label)
        if (end := ENDS.get(label.split(" ")[0])) is not None:
            axes.plot([end], [loss.mean], marker="*", markersize=15, color=colour, clip_on=False)
        if not math.isnan(loss.stderr):
            axes.axhspan(loss.mean - loss.stderr, loss.mean + loss.stderr, color=colour, alpha=0.1, linewidth=0)
    axes.set_xlim(-0.03, strongest(families) + 0.03)
    axes.set_title("Final loss against strength (stars: the two ends of the spectrum)", fontsize=11)
    axes.set_xlabel("strength λ   (weak → strong regularization)")
    axes.set_ylabel("final held-out target loss (nats per token)")
    if families or reference_losses(rows):
        _legend_below(axes)


def _legend_below(axes: Axes) -> None:
    """Outside the axes: with a dozen lines there is no free corner. Columns are as many as fit beside each other."""
    longest = max(len(label) for label in axes.get_legend_handles_labels()[1])
    axes.legend(fontsize=8, ncols=max(1, min(3, 96 // (longest + 6))), loc="upper center", bbox_to_anchor=(0.5, -0.13))
