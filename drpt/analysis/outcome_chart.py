"""Draws outcome.png: bias and variance of every regularizer's outcome in one picture."""

import io
import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from drpt.analysis.curves import colours_of
from drpt.analysis.outcome import Part
from drpt.analysis.outcome_table import OutcomePoint, ranked

_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "text.parse_math": False,  # names may contain a dollar sign
}
_BIAS, _VARIANCE = "#0072B2", "#E69F00"  # colours of Okabe and Ito's palette


def draw_outcomes(points: Sequence[OutcomePoint], title: str) -> bytes:
    """Draw stacked bars beside the plane of bias and variance; error bars are standard errors over replicates.

    The bias contains the unknown entropy of the data, which is the same for all points. Bars therefore begin at the lowest
    bias found, so that their lengths are meaningful differences; the plane shows the bias itself. Points whose bias is far from
    the others' (usually the untrained model) are named below the plane instead of drawn.

    Args:
        points: Points, at least one of them trained.
        title: Title of the picture.

    Returns:
        The picture as PNG.
    """
    drawn, outside = _within_reach(ranked(points))
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]  # its stub wants a literal type for each key
        figure = Figure(figsize=(13.5, max(4.8, 1.9 + 0.36 * len(drawn))), dpi=140)
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.1))
        _draw_bars(left, drawn)
        _draw_plane(right, drawn)
        if outside:
            figure.supxlabel("not drawn: " + "; ".join(map(_in_words, outside)), fontsize=9)
        figure.suptitle(title, fontsize=12)
        image = io.BytesIO()
        figure.savefig(image, format="png")
    return image.getvalue()


def _within_reach(points: Sequence[OutcomePoint]) -> tuple[list[OutcomePoint], list[OutcomePoint]]:
    """Points to draw, and those to name instead: untrained ones far from all others, and ones that are not finite."""
    finite = [point for point in points if math.isfinite(point.outcome.expected.value)]
    trained = [point.outcome.expected.value for point in finite if point.is_trained]
    reach = max(trained, default=0.0) + 0.5 * (max(trained, default=0.0) - min(trained, default=0.0))
    drawn = [point for point in finite if point.is_trained or point.outcome.expected.value <= reach]
    return drawn, [point for point in points if point not in drawn]


def _in_words(point: OutcomePoint) -> str:
    outcome = point.outcome
    return f"{point.label} (expected cross-entropy {outcome.expected.value:.3f}, variance {outcome.variance.value:.3f})"


def _draw_bars(axes: Axes, points: Sequence[OutcomePoint]) -> None:
    lowest = min((point.outcome.bias.value for point in points), default=0.0)
    places = range(len(points))
    excess = [point.outcome.bias.value - lowest for point in points]
    variances = [point.outcome.variance.value for point in points]
    axes.barh(places, excess, color=_BIAS, label="bias above the lowest")
    axes.barh(places, variances, left=excess, color=_VARIANCE, label="variance")
    for i, point in enumerate(points):
        # Error bars of the two ends, slightly apart so that both are visible.
        for end, part, offset in (
            (excess[i], point.outcome.bias, 0.12),
            (excess[i] + variances[i], point.outcome.expected, -0.12),
        ):
            axes.errorbar([end], [i + offset], xerr=_error(part), fmt="none", ecolor="black", elinewidth=1, capsize=2)
    axes.set_yticks(places, [f"{point.label}  {i + 1}" for i, point in enumerate(points)])
    axes.invert_yaxis()  # the best at the top
    axes.set_xlim(left=min([0.0, *(end - (_error(p.outcome.bias) or [0.0])[0] for end, p in zip(excess, points, strict=True))]))
    axes.set_xlabel(f"expected cross-entropy − lowest bias {lowest:.3f} (nats per token)")
    axes.set_title("Where the held-out loss comes from (± over replicates)", fontsize=11)
    axes.legend(loc="upper right", frameon=False, fontsize=9)  # the shortest bars are on top


def _draw_plane(axes: Axes, points: Sequence[OutcomePoint]) -> None:
    colours = colours_of([point.name for point in points])
    for i, point in enumerate(points):
        bias, variance, colour = point.outcome.bias, point.outcome.variance, colours[point.name]
        axes.errorbar(
            [bias.value],
            [variance.value],
            xerr=_error(bias),
            yerr=_error(variance),
            fmt="o",
            color=colour,
            markersize=14,
            markeredgecolor="white",
            elinewidth=1.2,
            capsize=3,
            zorder=3 + len(points) - i,
        )
        axes.text(
            bias.value,
            variance.value,
            str(i + 1),
            ha="center",
            va="center",
            color="white",
            fontsize=8.5,
            fontweight="bold",
            zorder=4 + len(points) - i,
        )
    axes.margins(0.12)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    _draw_levels(axes)
    axes.set_xlabel("bias (nats per token; contains the entropy of the data)")
    axes.set_ylabel("variance (nats per token)")
    axes.set_title("Bias against variance (dotted: equal cross-entropy)", fontsize=11)


def _draw_levels(axes: Axes) -> None:
    (x_low, x_high), (y_low, y_high) = axes.get_xlim(), axes.get_ylim()
    for level in mpl.ticker.MaxNLocator(8).tick_values(x_low + y_low, x_high + y_high):
        ends = np.array([max(x_low, level - y_high), min(x_high, level - y_low)])
        if ends[0] < ends[1]:
            axes.plot(ends, level - ends, ":", color="#999999", linewidth=0.8, zorder=0)
            axes.annotate(
                f"{level:.4g}",
                (ends[0], level - ends[0]),
                xytext=(3, -9),
                textcoords="offset points",
                color="#777777",
                fontsize=7.5,
            )
    axes.set_xlim(x_low, x_high)
    axes.set_ylim(y_low, y_high)


def _error(part: Part) -> list[float] | None:
    return None if math.isnan(part.stderr_replicates) else [part.stderr_replicates]
