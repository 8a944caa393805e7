"""The panels of a sweep's picture: curves over steps, final values against strength, and final values side by side."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from drpt.analysis.curves import (
    ENDS,
    Curve,
    axis_range,
    colours_of,
    curves_of,
    not_drawn,
    reference_values,
    strength_families,
    strength_shades,
    strongest,
    window_of,
    windowed_curves,
    within_reach,
)
from drpt.analysis.table import ZERO_SHOT, Estimate, Row
from drpt.tasks.task_metrics import Quantity, TaskMetrics

_MARKERS = ("o", "s", "D", "^", "v", "P")


def draw_held_out(axes: Axes, rows: Sequence[Row], quantity: Quantity, task_metrics: TaskMetrics) -> None:
    """Draw a held-out quantity over steps: a line for each point, with a band of one standard error over seeds.

    Args:
        axes: Axes to draw on.
        rows: Rows of a table, all of one task.
        quantity: Quantity to show.
        task_metrics: Metrics of the task.
    """
    curves = curves_of(rows, quantity.metric)
    _draw_curves(axes, curves, colours_of([row.name for row in rows]), has_bands=True)
    if (bounds := axis_range(curves, task_metrics)) is not None:
        axes.set_ylim(*bounds)
    axes.set_title(f"{quantity.name.capitalize()} during training", fontsize=11)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(quantity.axis)


def draw_training(axes: Axes, rows: Sequence[Row], quantity: Quantity) -> None:
    """Draw a training quantity over steps, averaged over windows of steps and over seeds.

    Args:
        axes: Axes to draw on.
        rows: Rows of a table, all of one task.
        quantity: Quantity to show.
    """
    window = window_of(rows, quantity.metric)
    curves = windowed_curves(rows, quantity.metric, window)
    _draw_curves(axes, curves, colours_of([row.name for row in rows]), has_bands=False)
    averaged = f" (means of {window} steps)" if window > 1 else ""
    axes.set_title(f"{quantity.name.capitalize()}{averaged}", fontsize=11)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(quantity.axis)


def _draw_curves(axes: Axes, curves: Sequence[Curve], colours: dict[str, str], *, has_bands: bool) -> None:
    for curve in curves:
        alpha = strength_shades(curves, curve.name)[curve.label]
        means = [value.mean for value in curve.values]
        style = "--" if curve.name == "target_only_stopped" else "-"
        colour = colours[curve.name]
        axes.plot(curve.steps, means, style, color=colour, alpha=alpha, label=curve.label, marker=".", linewidth=1.6)
        errors = _errors(curve.values)
        if has_bands and any(errors):
            lower = [mean - error for mean, error in zip(means, errors, strict=True)]
            upper = [mean + error for mean, error in zip(means, errors, strict=True)]
            axes.fill_between(curve.steps, lower, upper, color=colour, alpha=0.12, linewidth=0)


def draw_strengths(axes: Axes, rows: Sequence[Row], quantity: Quantity) -> None:
    """Draw the final value of every regularizer over its strengths; points without a strength are horizontal lines.

    Args:
        axes: Axes to draw on.
        rows: Rows of a table, all of one task.
        quantity: Primary quantity of the task.
    """
    families = strength_families(rows)
    colours = colours_of([row.name for row in rows])
    for i, family in enumerate(families):
        errors = _errors(family.values)
        axes.errorbar(
            family.strengths,
            [value.mean for value in family.values],
            yerr=errors if any(errors) else None,
            color=colours[family.name.split(" ")[0]],
            marker=_MARKERS[i % len(_MARKERS)],
            markersize=6,
            linewidth=1.6,
            capsize=3,
            label=family.name,
        )
    for label, value in reference_values(rows).items():
        colour = colours[label.split(" ")[0]]
        axes.axhline(value.mean, color=colour, linestyle="--", linewidth=1.2, label=label)
        if (end := ENDS.get(label.split(" ")[0])) is not None:
            axes.plot([end], [value.mean], marker="*", markersize=15, color=colour, clip_on=False)
        if not math.isnan(value.stderr):
            axes.axhspan(value.mean - value.stderr, value.mean + value.stderr, color=colour, alpha=0.1, linewidth=0)
    axes.set_xlim(-0.03, strongest(families) + 0.03)
    axes.set_title(f"Final {quantity.short} against strength (stars: the two ends of the spectrum)", fontsize=11)
    axes.set_xlabel("\n".join(filter(None, ["strength λ   (weak → strong regularization)", not_drawn(rows)])))
    axes.set_ylabel(f"final {quantity.axis}")


def draw_dots(axes: Axes, rows: Sequence[Row], quantity: Quantity) -> None:
    """Draw the final value of every point, one below the other: mean, standard error and single seeds as small dots.

    Args:
        axes: Axes to draw on.
        rows: Rows of one task whose regularizers have one strength each.
        quantity: Primary quantity of the task.
    """
    shown, _ = within_reach(rows)
    colours = colours_of([row.name for row in rows])
    for place, row in enumerate(shown):
        colour = colours[row.name]
        if row.name == ZERO_SHOT:
            axes.axvline(row.primary.mean, color=colour, linestyle="--", linewidth=1.2, zorder=1)
        single = row.finals if row.num_seeds > 1 and row.name != ZERO_SHOT else []
        axes.plot(single, [place + 0.22] * len(single), ".", color=colour, alpha=0.55, markersize=6)
        error = _errors([row.primary])
        axes.errorbar(
            [row.primary.mean],
            [place],
            xerr=error if any(error) else None,
            color=colour,
            marker="o",
            markersize=8,
            linewidth=2,
            capsize=4,
        )
    axes.set_yticks(range(len(shown)), [row.label for row in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)  # first row at the top
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    explained = " (mean ± standard error; small: single seeds)" if any(row.num_seeds > 1 for row in shown) else ""
    axes.set_title(f"Final {quantity.short}{explained}", fontsize=11)
    axes.set_xlabel("\n".join(filter(None, [f"final {quantity.axis}", not_drawn(rows)])))


def _errors(values: Sequence[Estimate]) -> list[float]:
    return [0.0 if math.isnan(value.stderr) else value.stderr for value in values]


def legend_below(axes: Axes, depth: float = 0.13) -> None:
    """Draw the legend below the axes, in as many columns as fit, since a dozen curves leave no free corner."""
    if labels := axes.get_legend_handles_labels()[1]:
        columns = columns_within(96, labels)
        axes.legend(fontsize=8, ncols=min(3, columns), loc="upper center", bbox_to_anchor=(0.5, -depth))


def columns_within(width: int, labels: Sequence[str]) -> int:
    """Number of legend columns that fit into a width in characters."""
    return max(1, width // (max(map(len, labels)) + 6))
