"""Draws three pictures: step time by variant and setting, the parts of a step, and the growth of the ratio with n, T and m."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from experiments.overhead.breakdown import PARTS
from experiments.overhead.goals import median_parts, step_bound
from experiments.overhead.settings import BREAKDOWN_SETTINGS, FIRST, GROWTH, SHAPES, STEP_SETTINGS, Setting
from experiments.overhead.store import Record
from experiments.overhead.timing import ratio
from experiments.overhead.variants import ALL_VARIANTS, GROWTH_VARIANTS, STANDARD

_STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
# Colours of Okabe and Ito's palette; things that differ in colour also differ in shape or have a fixed order.
_FULL, _LORA = "#0072B2", "#D55E00"
_PART_COLOURS = dict(zip(PARTS, ("#56B4E9", "#0072B2", "#D55E00", "#CC79A7", "#009E73", "#999999", "#F0E442"), strict=True))
_PART_NAMES = {"backward": "backward (captured: of activations)", "capture": "bookkeeping", "adamw": "AdamW"}
_LINES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"))
_GREY = "#777777"
_DRAWN = [variant for variant in ALL_VARIANTS if variant.sees_all or variant.regularizer.needs_general]


def draw_steps(results: Mapping[str, Record]) -> bytes | None:
    """Draw a panel for each shape with a row for each variant: dots with quartiles, the count and the goal.

    Steps on target rows only are left out: they are far shorter, and the others could not be distinguished.

    Args:
        results: Records by name.

    Returns:
        The picture as PNG, or None if nothing was measured.
    """
    records = {s: results[f"steps-{s.key}"] for s in STEP_SETTINGS if f"steps-{s.key}" in results}
    shapes = [shape for shape in SHAPES if any(s.shape == shape.shape for s in records)]
    if not shapes:
        return None
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]  # its stub wants a literal type for each key
        figure = Figure(figsize=(3.6 * len(shapes) + 2.6, 11.5), dpi=130, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(shapes), squeeze=False, sharey=True, sharex=True)[0]
        for axes, shape in zip(panels, shapes, strict=True):
            own = {setting: record for setting, record in records.items() if setting.shape == shape.shape}
            _draw_shape(axes, own)
            axes.set_title(shape.shape)
        names = [variant.name for variant in _DRAWN]
        panels[0].set_yticks(range(len(names)), names)
        panels[0].invert_yaxis()
        _legend_of_steps(figure, panels[0])
        figure.supxlabel("seconds over those of a standard step on the n general rows, with AdamW (log scale)", fontsize=9)
        return _image(figure)


def _draw_shape(axes: Axes, records: Mapping[Setting, Record]) -> None:
    places = {variant.name: place for place, variant in enumerate(_DRAWN)}
    for place in places.values():
        axes.axhline(place, color="#eeeeee", linewidth=0.8, zorder=0)
    axes.axvline(1.0, color=_GREY, linewidth=0.9, zorder=1)
    for setting, record in records.items():
        offset = {"full": -0.18, "lora": 0.18}[setting.finetune] + {"fp32": -0.07, "bf16": 0.07}[setting.precision]
        style = _marker(setting)
        for name, variant in record["variants"].items():
            if name not in places:
                continue
            found = ratio(variant["seconds"], record["variants"][STANDARD.name]["seconds"])
            if found is not None:
                error = [[found.median - found.low], [found.high - found.median]]
                axes.errorbar([found.median], [places[name] + offset], xerr=error, elinewidth=0.8, zorder=3, **style)
            if (setting.finetune, setting.precision) == ("full", "fp32"):
                counted = record["operations"][name]
                count_ratio = (counted["free"] + counted["products"]) / counted["standard"]
                axes.plot([count_ratio], [places[name]], "|", color="black", markersize=13, markeredgewidth=1.4, zorder=2)
                bound = step_bound(setting, name)
                if bound is not None:
                    axes.plot([bound], [places[name] - 0.18], "<", color="#009E73", markersize=7, zorder=2)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xticks([0.8, 1, 1.25, 1.5, 2, 3, 4])
    axes.xaxis.set_minor_locator(NullLocator())


def _marker(setting: Setting) -> dict[str, Any]:  # Any: matplotlib's options
    colour = _FULL if setting.finetune == "full" else _LORA
    face = colour if setting.precision == "fp32" else "white"
    shape = "o" if setting.finetune == "full" else "s"
    return {"fmt": shape, "color": colour, "markerfacecolor": face, "markersize": 5, "linestyle": "none"}


def _legend_of_steps(figure: Figure, axes: Axes) -> None:
    for setting in STEP_SETTINGS:
        if setting.shape == FIRST.shape:
            axes.errorbar([], [], label=setting.trained, **_marker(setting))
    axes.plot([], [], "|", color="black", markersize=11, markeredgewidth=1.4, label="operation count, full")
    axes.plot([], [], "<", color="#009E73", markersize=7, label="goal, full fp32: not beyond")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=6, frameon=False)


def draw_breakdown(results: Mapping[str, Record]) -> bytes | None:
    """Draw stacked bars of seconds, with a panel for each setting.

    Args:
        results: Records by name.

    Returns:
        The picture as PNG, or None if nothing was measured.
    """
    settings = [setting for setting in BREAKDOWN_SETTINGS if f"breakdown-{setting.key}" in results]
    if not settings:
        return None
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]  # as above
        figure = Figure(figsize=(5.2 * len(settings) + 2.4, 5.2), dpi=130, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(settings), squeeze=False, sharey=True)[0]
        for axes, setting in zip(panels, settings, strict=True):
            _draw_parts(axes, results[f"breakdown-{setting.key}"]["variants"])
            axes.set_title(setting.label)
            axes.set_xlabel("seconds (median of each part)")
        panels[0].invert_yaxis()
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
        return _image(figure)


def _draw_parts(axes: Axes, variants: Mapping[str, Record]) -> None:
    parts = {name: median_parts(variant) for name, variant in variants.items()}
    starts = dict.fromkeys(parts, 0.0)
    for part in PARTS:
        widths = [found.get(part, 0.0) for found in parts.values()]
        axes.barh(
            list(parts),
            widths,
            left=list(starts.values()),
            color=_PART_COLOURS[part],
            edgecolor="white",
            linewidth=0.5,
            label=_PART_NAMES.get(part, part),
        )
        starts = {name: start + width for (name, start), width in zip(starts.items(), widths, strict=True)}
    axes.axvline(starts[STANDARD.name], color=_GREY, linewidth=0.9, linestyle="--", zorder=3)


def draw_growth(results: Mapping[str, Record]) -> bytes | None:
    """Draw the measured ratio against n, T and m, and the operation count as dashed lines.

    Args:
        results: Records by name.

    Returns:
        The picture as PNG, or None if nothing was measured.
    """
    lines = {axis: [s for s in settings if _point(results, s) is not None] for axis, settings in GROWTH.items()}
    if not any(lines.values()):
        return None
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]  # as above
        figure = Figure(figsize=(12.0, 4.2), dpi=130, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(GROWTH), sharey=True)
        for axes, (axis, settings) in zip(panels, lines.items(), strict=True):
            _draw_line(axes, results, axis, settings)
        panels[0].set_ylabel("seconds over those of a standard step on n rows")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(GROWTH_VARIANTS) - 1, frameon=False)
        return _image(figure)


def _draw_line(axes: Axes, results: Mapping[str, Record], axis: str, settings: Sequence[Setting]) -> None:
    at = {s: {"n": s.num_general, "T": s.num_tokens, "m": s.num_target}[axis] for s in settings}
    axes.axhline(1.0, color=_GREY, linewidth=0.9)
    for variant, (colour, marker) in zip(GROWTH_VARIANTS[1:], _LINES, strict=True):
        places, measured, counted = [], [], []
        for setting in settings:
            record = _point(results, setting)
            assert record is not None
            found = ratio(record["variants"][variant.name]["seconds"], record["variants"][STANDARD.name]["seconds"])
            operations = record["operations"][variant.name]
            if found is not None:
                places.append(at[setting])
                measured.append(found.median)
                counted.append((operations["free"] + operations["products"]) / operations["standard"])
        axes.plot(places, measured, marker=marker, color=colour, markersize=5, linewidth=1.4, label=variant.name)
        axes.plot(places, counted, "--", color=colour, linewidth=1.0, label=f"{variant.name}: count")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xticks(list(at.values()))
    axes.xaxis.set_minor_locator(NullLocator())
    fixed = {"n": FIRST.num_general, "T": FIRST.num_tokens, "m": FIRST.num_target}
    axes.set_xlabel(f"{axis}   ({', '.join(f'{name}={value}' for name, value in fixed.items() if name != axis)})")


def _point(results: Mapping[str, Record], setting: Setting) -> Record | None:
    return results.get(f"growth-{setting.key}") or results.get(f"steps-{setting.key}")


def _image(figure: Figure) -> bytes:
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()
