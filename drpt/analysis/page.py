"""The sweep as one HTML page that needs nothing else: charts, table, answers, settings."""

import math
from collections.abc import Sequence
from importlib.resources import files

import plotly.graph_objects as go
from jinja2 import Environment, select_autoescape

from drpt.analysis.curves import (
    ENDS,
    Curve,
    axis_range,
    colours_of,
    loss_curves,
    reference_losses,
    strength_families,
    strength_shades,
    strongest,
)
from drpt.analysis.run import Run
from drpt.analysis.table import COLUMNS, ZERO_SHOT, Estimate, Row, best_labels

_SHOWN_SAMPLES = 6


def build_page(rows: Sequence[Row], runs: Sequence[Run], *, title: str, command: str) -> str:
    """The report.

    Args:
        rows: See `drpt.analysis.table.tabulate`.
        runs: All runs of the sweep, finished or not.
        title: Of the page.
        command: That made the sweep.

    Returns:
        HTML with its scripts and styles inside; it asks no network for anything.
    """
    template = files("drpt.analysis").joinpath("page.html.jinja").read_text()
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    curves, strengths = _curves_figure(rows), _strengths_figure(rows)
    best = best_labels(rows)
    table = [
        {
            "label": row.label,
            "seeds": "" if row.name == ZERO_SHOT else ", ".join(str(run.config["seed"]) for run in row.runs),
            "is_zero_shot": row.name == ZERO_SHOT,
            "cells": [
                {
                    "text": row.values[column.key].show(column.digits, column.scale),
                    "is_best": best.get(column.key) == row.label,
                }
                for column in COLUMNS
            ],
        }
        for row in rows
    ]
    return environment.from_string(template).render(
        title=title,
        command=command,
        columns=[column.title for column in COLUMNS],
        table=table,
        curves=to_html(curves, "curves", is_first=True),
        strengths=to_html(strengths, "strengths", is_first=False),
        answers=[
            {"label": row.label, "samples": row.runs[0].samples[:_SHOWN_SAMPLES]} for row in rows if row.name != ZERO_SHOT
        ],
        settings=_settings(runs),
        counts=_counts(runs),
        unfinished=[run for run in runs if not run.is_finished],
        num_finished=sum(run.is_finished for run in runs),
    )


def to_html(figure: go.Figure, name: str, *, is_first: bool, height: int = 540) -> str:
    """A figure in the house's style.

    Args:
        figure: Changed in place.
        name: Of its element.
        is_first: Whether it brings plotly's script along for all.
        height: In pixels.

    Returns:
        An HTML fragment.
    """
    figure.update_layout(
        template="plotly_white",
        margin={"l": 60, "r": 20, "t": 40 if height > 540 else 20, "b": 20},
        height=height,
        legend={"font": {"size": 11}, "orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        hovermode="closest",
        font={"family": "system-ui, sans-serif"},
    )
    html: str = figure.to_html(
        full_html=False,
        include_plotlyjs="inline" if is_first else False,
        div_id=name,
        config={"displaylogo": False, "responsive": True},
    )
    return html


def _errors(losses: Sequence[Estimate]) -> list[float]:
    return [0.0 if math.isnan(loss.stderr) else loss.stderr for loss in losses]


def _curves_figure(rows: Sequence[Row]) -> go.Figure:
    figure = go.Figure()
    curves = loss_curves(rows)
    colours = colours_of([curve.name for curve in curves])
    for curve in curves:
        figure.add_trace(_curve_trace(curve, colours[curve.name], strength_shades(curves, curve.name)[curve.label]))
    bounds = axis_range(curves)
    figure.update_yaxes(title="held-out target loss (nats per token)", range=list(bounds) if bounds else None)
    figure.update_xaxes(title="optimizer step")
    return figure


def _curve_trace(curve: Curve, colour: str, opacity: float) -> go.Scatter:
    errors = _errors(curve.losses)
    return go.Scatter(
        x=curve.steps,
        y=[loss.mean for loss in curve.losses],
        error_y={"array": errors, "thickness": 1, "width": 3} if any(errors) else None,
        name=curve.label,
        mode="lines+markers",
        opacity=opacity,
        line={"color": colour, "width": 2, "dash": "dash" if curve.name == "target_only_stopped" else "solid"},
        marker={"size": 5},
        hovertemplate="step %{x}<br>loss %{y:.4f}<extra>%{fullData.name}</extra>",
    )


def _strengths_figure(rows: Sequence[Row]) -> go.Figure:
    figure = go.Figure()
    colours = colours_of([row.name for row in rows])
    families = strength_families(rows)
    for i, family in enumerate(families):
        errors = _errors(family.losses)
        figure.add_trace(
            go.Scatter(
                x=family.strengths,
                y=[loss.mean for loss in family.losses],
                error_y={"array": errors, "thickness": 1, "width": 3} if any(errors) else None,
                name=family.name,
                mode="lines+markers",
                line={"color": colours[family.name.split(" ")[0]], "width": 2},
                marker={"size": 9, "symbol": i % 6},
                hovertemplate="λ = %{x}<br>final loss %{y:.4f}<extra>%{fullData.name}</extra>",
            )
        )
    for label, loss in reference_losses(rows).items():
        name = label.split(" ")[0]
        end = ENDS.get(name)
        figure.add_trace(
            go.Scatter(
                x=[0, 0.5, 1],
                y=[loss.mean] * 3,
                name=label,
                mode="lines+markers",
                line={"color": colours[name], "width": 1.5, "dash": "dash"},
                marker={"size": [16 if x == end else 0 for x in (0, 0.5, 1)], "symbol": "star", "opacity": 1},
                hovertemplate=f"final loss %{{y:.4f}}<extra>{label}</extra>",
            )
        )
    figure.update_xaxes(title="strength λ (weak → strong regularization)", range=[-0.03, strongest(families) + 0.03])
    figure.update_yaxes(title="final held-out target loss (nats per token)")
    return figure


def _counts(runs: Sequence[Run]) -> list[tuple[str, int]]:
    """Examples cut or left out, the most that any run counted, by reason."""
    counts: dict[str, int] = {}
    for run in runs:
        for name, count in run.summary.get("data_counts", {}).items():
            if count:
                counts[name.replace("_", " ")] = max(count, counts.get(name.replace("_", " "), 0))
    return sorted(counts.items())


def _name_of(target: object) -> object:
    return target.get("path", "") if isinstance(target, dict) else target


def _settings(runs: Sequence[Run]) -> list[tuple[str, str]]:
    config = runs[0].config
    data, model = config["data"], config["model"]
    source = data["source"]
    pairs = {
        "task": config["task"]["name"],
        "model": model["name"] or {"embedded": "SmolLM2-135M-Instruct"}.get(model["source"], model["source"]),
        "fine-tuning": config["finetune"]["method"],
        "target": _name_of(source.get("target", "of a source of your own")),
        "target examples": data["num_target"],
        "held-out examples": data["num_eval"],
        "rows a step": f"{data['general_rows']} general, {data['target_rows']} target",
        "steps": config["trainer"]["max_steps"],
        "learning rate": f"{config['optimizer']['lr']:g}",
        "precision": config["trainer"]["precision"],
    }
    return [(key, str(value)) for key, value in pairs.items()]
