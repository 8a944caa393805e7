"""Builds report.html: a sweep as one self-contained page with charts, table, answers and settings."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, select_autoescape

from drpt.analysis.page_figures import page_figures
from drpt.analysis.page_settings import common_settings, left_out
from drpt.analysis.run import SAMPLES_FILE, Run
from drpt.analysis.sweep import Sweep
from drpt.analysis.sweep_words import counts_of, unfinished_lines, ways_out
from drpt.analysis.table import ZERO_SHOT, Row, by_task, columns_of
from drpt.analysis.table_formats import best_labels, show_cell
from drpt.analysis.verdicts import verdict_table
from drpt.tasks.find import task_metrics_of

_SHOWN_SAMPLES = 6

# Keys of every answer; further keys are scores of second judges.
_OF_ANY_SAMPLE = {"prompt", "expected", "answer", "is_correct", "reward"}


def build_page(rows: Sequence[Row], sweep: Sweep, *, title: str, command: str, notes: Sequence[str] = ()) -> str:
    """Build the report; several tasks come one after the other.

    Args:
        rows: Rows from `drpt.analysis.table.tabulate`.
        sweep: Sweep of the rows, including unfinished jobs.
        title: Title of the page.
        command: Command that created the sweep.
        notes: Further notes for the reader, such as about damaged files.

    Returns:
        HTML with its scripts and styles, which works without a network.
    """
    template = files("drpt.analysis").joinpath("page.html.jinja").read_text()
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        title=title,
        command=command,
        parts=[_part(part, sweep.finished, number) for number, part in enumerate(by_task(rows))],
        counts=counts_of(sweep),
        is_complete=sweep.is_complete,
        unfinished=unfinished_lines(sweep),
        remarks=[*ways_out(sweep), *notes],
    )


def _part(rows: Sequence[Row], runs: Sequence[Run], number: int) -> dict[str, Any]:
    """Template values for one task; ``number`` is its index on the page and makes the ids of elements unique."""
    task_metrics = task_metrics_of(rows[0].task)
    suffix = f"-{task_metrics.task}" if number else ""
    of_task = [run for run in runs if run.task == rows[0].task]
    figures = page_figures(rows, task_metrics)
    columns = columns_of(rows)
    return {
        "task": task_metrics.task,
        "suffix": suffix,
        "columns": [column.title for column in columns],
        "table": _table(rows),
        "charts": [
            {
                "heading": figure.heading,
                "note": figure.note,
                "html": to_html(figure.figure, figure.name + suffix, is_first=number == i == 0),
            }
            for i, figure in enumerate(figures)
        ],
        "note": task_metrics.note,
        "verdicts": verdict_table(rows),
        "answers": _answers(rows),
        "settings": common_settings(of_task),
        "counts": left_out(of_task),
    }


def _table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    best = best_labels(rows)
    return [
        {
            "label": row.label,
            "seeds": _seeds(row),
            "is_zero_shot": row.name == ZERO_SHOT,
            "cells": [
                {"text": show_cell(row, column), "is_best": best.get(column.key) == row.label} for column in columns_of(rows)
            ],
        }
        for row in rows
    ]


def _seeds(row: Row) -> str:
    """All seeds, and how many of the planned ones if some are unfinished."""
    if row.name == ZERO_SHOT:
        return ""
    names = ", ".join(str(run.config["seed"]) for run in row.runs)
    return f"{names} ({row.seeds})" if row.num_unfinished else names


def _answers(rows: Sequence[Row]) -> list[dict[str, Any]]:
    readable = [(row, [run for run in row.runs if SAMPLES_FILE not in run.faults]) for row in rows if row.name != ZERO_SHOT]
    shown = [(row.label, runs[0].samples[:_SHOWN_SAMPLES]) for row, runs in readable if runs]
    return [
        {
            "label": label,
            "samples": samples,
            "has_rewards": any("reward" in sample for sample in samples),
            "has_references": any(sample.get("expected") for sample in samples),
            "judges": [name for name in samples[0] if name not in _OF_ANY_SAMPLE] if samples else [],
        }
        for label, samples in shown
    ]


def to_html(figure: go.Figure, name: str, *, is_first: bool, height: int = 540) -> str:
    """Render a figure in the page's style.

    Args:
        figure: Figure, changed in place.
        name: Id of its HTML element.
        is_first: Whether to include plotly's script, which all figures share.
        height: Height in pixels.

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
