"""Draws chart.png, a sweep's picture for a README or a paper."""

import io
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

from drpt.analysis.chart_panels import (
    columns_within,
    draw_dots,
    draw_held_out,
    draw_strengths,
    draw_training,
    legend_below,
)
from drpt.analysis.curves import are_swept, is_measured, not_drawn, strength_families
from drpt.analysis.table import Row, by_task
from drpt.tasks.find import task_metrics_of
from drpt.tasks.task_metrics import TaskMetrics

_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "text.parse_math": False,  # names may contain a dollar sign
}
_WIDTH = 12.5  # inches


def draw_chart(rows: Sequence[Row], title: str) -> bytes:
    """Draw the primary quantity over steps, beside its final value against strength.

    Tasks that declare more quantities get a second row. If no strength was swept, the final values are drawn side by side. The
    pictures of several tasks are stacked.

    Args:
        rows: Rows from `drpt.analysis.table.tabulate`.
        title: Title of the picture; it may have several lines.

    Returns:
        The picture as PNG.
    """
    parts = by_task(rows)
    declared = [task_metrics_of(part[0].task) for part in parts]
    heights = [_height(part, task_metrics) for part, task_metrics in zip(parts, declared, strict=True)]
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]  # its stub wants a literal type for each key
        figure = Figure(figsize=(_WIDTH, sum(heights)), dpi=150)
        FigureCanvasAgg(figure)
        is_mixed = len(parts) > 1
        places = figure.subfigures(len(parts), 1, height_ratios=heights, squeeze=False).flat if is_mixed else [figure]
        for place, part, task_metrics in zip(places, parts, declared, strict=True):
            draw = _draw_four if task_metrics.has_companions else _draw_two
            draw(place, part, task_metrics)
            if is_mixed:
                place.suptitle(f"task={task_metrics.task}", fontsize=11, fontweight="bold")
        figure.suptitle(title, fontsize=12)
        image = io.BytesIO()
        figure.savefig(image, format="png")
    return image.getvalue()


def _height(rows: Sequence[Row], task_metrics: TaskMetrics) -> float:
    """Height in inches; many points need room for their names below the panels."""
    return 8.4 + 0.12 * len(rows) if task_metrics.has_companions else 5.4 + 0.085 * len(rows)


def _draw_two(figure: Figure | SubFigure, rows: Sequence[Row], task_metrics: TaskMetrics) -> None:
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1.0))
    draw_held_out(left, rows, task_metrics.primary, task_metrics)
    legend_below(left)
    draw_strengths(right, rows, task_metrics.primary)
    legend_below(right)


def _draw_four(figure: Figure | SubFigure, rows: Sequence[Row], task_metrics: TaskMetrics) -> None:
    """Draw two rows of panels with one legend below; a panel without data stays empty."""
    (held_out, final), (training, second) = figure.subplots(2, 2, width_ratios=(1.1, 1.0))
    draw_held_out(held_out, rows, task_metrics.primary, task_metrics)
    if are_swept(strength_families(rows)):
        draw_strengths(final, rows, task_metrics.primary)
        legend_below(final, depth=0.2 if not_drawn(rows) else 0.15)
    else:
        draw_dots(final, rows, task_metrics.primary)
    if task_metrics.training is not None and is_measured(rows, task_metrics.training):
        draw_training(training, rows, task_metrics.training)
    else:
        training.set_axis_off()
    if task_metrics.second is not None and is_measured(rows, task_metrics.second):
        draw_held_out(second, rows, task_metrics.second, task_metrics)
    else:
        second.set_axis_off()
    handles, labels = held_out.get_legend_handles_labels()
    if labels:
        figure.legend(handles, labels, fontsize=8, ncols=min(6, columns_within(190, labels)), loc="outside lower center")
