"""Builds the interactive figures of report.html."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from drpt.analysis.curves import (
    ENDS,
    Curve,
    are_swept,
    axis_range,
    colours_of,
    curves_of,
    is_measured,
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


@dataclass(frozen=True, kw_only=True)
class PageFigure:
    """A figure with its heading and note."""

    name: str  # id of its HTML element
    heading: str
    note: str  # note above the figure, in HTML
    figure: go.Figure


_CLICK = "Click a name to hide it, double-click to see it alone."
_ENDS_NOTE = "Dashed: no strength. Stars: the spectrum's two ends, <code>target_only</code> and <code>full</code>."


def page_figures(rows: Sequence[Row], task_metrics: TaskMetrics) -> list[PageFigure]:
    """Build all figures of one task.

    Args:
        rows: Rows of the task.
        task_metrics: Metrics of the task.

    Returns:
        The primary quantity over steps, its final values, and further quantities that the task declares and some run has.
    """
    primary = task_metrics.primary
    figures = [
        PageFigure(
            name="curves",
            heading=f"{primary.name.capitalize()} during training",
            note=_CLICK,
            figure=_held_out_figure(rows, primary, task_metrics),
        )
    ]
    figures.append(_finals(rows, task_metrics))
    if task_metrics.training is not None and is_measured(rows, task_metrics.training):
        figures.append(_training_figure(rows, task_metrics.training))
    if (second := task_metrics.second) is not None and is_measured(rows, second):
        figure = _held_out_figure(rows, second, task_metrics)
        figures.append(
            PageFigure(name="second", heading=f"{second.name.capitalize()} during training", note=_CLICK, figure=figure)
        )
    return figures


def _finals(rows: Sequence[Row], task_metrics: TaskMetrics) -> PageFigure:
    """Final values against strength; side by side if the task allows it and no strength was swept."""
    primary = task_metrics.primary
    outside = f" {not_drawn(rows).capitalize()}." if not_drawn(rows) else ""
    if task_metrics.has_companions and not are_swept(strength_families(rows)):
        note = "Mean ± standard error over seeds; small: single seeds." + outside
        return PageFigure(name="finals", heading=f"Final {primary.short}", note=note, figure=_dots_figure(rows, primary))
    heading = f"Final {primary.short} against strength"
    return PageFigure(name="strengths", heading=heading, note=_ENDS_NOTE + outside, figure=_strengths_figure(rows, primary))


def _errors(values: Sequence[Estimate]) -> list[float]:
    return [0.0 if math.isnan(value.stderr) else value.stderr for value in values]


def _held_out_figure(rows: Sequence[Row], quantity: Quantity, task_metrics: TaskMetrics) -> go.Figure:
    curves = curves_of(rows, quantity.metric)
    figure = _curves_figure(curves, rows, quantity)
    bounds = axis_range(curves, task_metrics)
    figure.update_yaxes(title=quantity.axis, range=list(bounds) if bounds else None)
    figure.update_xaxes(title="optimizer step")
    return figure


def _training_figure(rows: Sequence[Row], quantity: Quantity) -> PageFigure:
    window = window_of(rows, quantity.metric)
    figure = _curves_figure(windowed_curves(rows, quantity.metric, window), rows, quantity)
    figure.update_yaxes(title=quantity.axis)
    figure.update_xaxes(title="optimizer step")
    averaged = f"Means of {window} steps. " if window > 1 else ""
    return PageFigure(name="training", heading=quantity.name.capitalize(), note=averaged + _CLICK, figure=figure)


def _curves_figure(curves: Sequence[Curve], rows: Sequence[Row], quantity: Quantity) -> go.Figure:
    figure = go.Figure()
    colours = colours_of([row.name for row in rows])
    for curve in curves:
        shade = strength_shades(curves, curve.name)[curve.label]
        figure.add_trace(_curve_trace(curve, colours[curve.name], shade, quantity.short))
    return figure


def _curve_trace(curve: Curve, colour: str, opacity: float, short: str) -> go.Scatter:
    errors = _errors(curve.values)
    return go.Scatter(
        x=curve.steps,
        y=[value.mean for value in curve.values],
        error_y={"array": errors, "thickness": 1, "width": 3} if any(errors) else None,
        name=curve.label,
        mode="lines+markers",
        opacity=opacity,
        line={"color": colour, "width": 2, "dash": "dash" if curve.name == "target_only_stopped" else "solid"},
        marker={"size": 5},
        hovertemplate=f"step %{{x}}<br>{short} %{{y:.4f}}<extra>%{{fullData.name}}</extra>",
    )


def _strengths_figure(rows: Sequence[Row], quantity: Quantity) -> go.Figure:
    figure = go.Figure()
    colours = colours_of([row.name for row in rows])
    families = strength_families(rows)
    for i, family in enumerate(families):
        errors = _errors(family.values)
        figure.add_trace(
            go.Scatter(
                x=family.strengths,
                y=[value.mean for value in family.values],
                error_y={"array": errors, "thickness": 1, "width": 3} if any(errors) else None,
                name=family.name,
                mode="lines+markers",
                line={"color": colours[family.name.split(" ")[0]], "width": 2},
                marker={"size": 9, "symbol": i % 6},
                hovertemplate=f"λ = %{{x}}<br>final {quantity.short} %{{y:.4f}}<extra>%{{fullData.name}}</extra>",
            )
        )
    for label, value in reference_values(rows).items():
        name = label.split(" ")[0]
        end = ENDS.get(name)
        figure.add_trace(
            go.Scatter(
                x=[0, 0.5, 1],
                y=[value.mean] * 3,
                name=label,
                mode="lines+markers",
                line={"color": colours[name], "width": 1.5, "dash": "dash"},
                marker={"size": [16 if x == end else 0 for x in (0, 0.5, 1)], "symbol": "star", "opacity": 1},
                hovertemplate=f"final {quantity.short} %{{y:.4f}}<extra>{label}</extra>",
            )
        )
    figure.update_xaxes(title="strength λ (weak → strong regularization)", range=[-0.03, strongest(families) + 0.03])
    figure.update_yaxes(title=f"final {quantity.axis}")
    return figure


def _dots_figure(rows: Sequence[Row], quantity: Quantity) -> go.Figure:
    figure = go.Figure()
    colours = colours_of([row.name for row in rows])
    shown, _ = within_reach(rows)
    for place, row in enumerate(shown):
        colour, error = colours[row.name], _errors([row.primary])
        if row.name == ZERO_SHOT:
            figure.add_vline(x=row.primary.mean, line={"color": colour, "width": 1.5, "dash": "dash"}, layer="below")
        elif row.num_seeds > 1:
            seeds = go.Scatter(
                x=row.finals,
                y=[place + 0.2] * len(row.finals),
                mode="markers",
                marker={"color": colour, "size": 6, "opacity": 0.6},
                hovertemplate=f"one seed: {quantity.short} %{{x:.4f}}<extra>{row.label}</extra>",
            )
            figure.add_trace(seeds)
        figure.add_trace(
            go.Scatter(
                x=[row.primary.mean],
                y=[place],
                error_x={"array": error, "thickness": 2, "width": 6} if any(error) else None,
                mode="markers",
                marker={"color": colour, "size": 13},
                hovertemplate=f"final {quantity.short} %{{x:.4f}}<extra>{row.label}</extra>",
            )
        )
    figure.update_xaxes(title=f"final {quantity.axis}")
    labels = {"tickvals": list(range(len(shown))), "ticktext": [row.label for row in shown], "automargin": True}
    figure.update_yaxes(range=[len(shown) - 0.4, -0.6], showgrid=False, zeroline=False, **labels)  # the first row on top
    figure.update_layout(showlegend=False)
    return figure
