"""Builds probe.html: one self-contained page with an interactive picture and a table of all figures."""

from collections.abc import Sequence
from importlib.resources import files

import plotly.graph_objects as go
from jinja2 import Environment, select_autoescape
from plotly.subplots import make_subplots

from drpt.analysis.page import to_html
from drpt.analysis.probe_grid import colour_of
from drpt.analysis.probe_points import ENDS, Point, Probe, best_points, families, limits

_LINES = 8  # number of lines of equal mean squared error


def build_probe_page(probe: Probe) -> str:
    """Build the page.

    Args:
        probe: Result of the probe.

    Returns:
        HTML with its scripts and styles, which works without a network.
    """
    template = files("drpt.analysis").joinpath("probe_page.html.jinja").read_text()
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    sections = []
    for number, size in enumerate(probe.sizes):
        height = 900
        sections.append(
            {
                "title": f"n = {size[0]} general, m = {size[1]} target examples in a step",
                "figure": to_html(_figure(probe, size), f"probe-{number}", is_first=number == 0, height=height),
                "best": [_row(point) for point in best_points(probe.of(size), over_partitions=True)],
                "all": [_row(point) for point in probe.of(size)],
            }
        )
    return environment.from_string(template).render(
        title=probe.title,
        target_size=probe.target_text,
        sketch=None
        if probe.sketch_stderr is None
        else f"{probe.sketch_width} rows a side; squared distances ±{probe.sketch_stderr:.1%}",
        seconds=probe.seconds,
        sections=sections,
        used=[_row(point) for point in probe.of(None, target="used")],
    )


def _row(point: Point) -> dict[str, str]:
    d = point.direction
    return {
        "family": point.rule.name,
        "partition": point.rule.partition,
        "strength": point.dial,
        "size": f"{point.general_rows}, {point.target_rows}",
        "bias": f"{d.bias_sq:.3f} ± {d.bias_sq_stderr:.3f}",
        "variance": f"{d.variance:.3f} ± {d.variance_stderr:.3f}",
        "mse": f"{d.mse:.3f} ± {d.mse_stderr:.3f}",
        "cosine": f"{d.cosine:.3f}",
        "norm": f"{d.norm_ratio:.2f}",
        "failures": str(d.num_failures or ""),
    }


def _figure(probe: Probe, size: tuple[int, int]) -> go.Figure:
    partitions = probe.partitions
    figure = make_subplots(
        rows=2,
        cols=len(partitions),
        subplot_titles=[f"{partition} partition" for partition in partitions],
        shared_yaxes=True,
        horizontal_spacing=0.03,
        vertical_spacing=0.12,
    )
    low, bias_high, variance_high = limits(probe.of(size))
    for column, partition in enumerate(partitions, start=1):
        points = probe.of(size, partition=partition)
        _add_levels(figure, column, bias_high + variance_high)
        is_first = column == 1
        oracle = go.Scatter(
            x=[0],
            y=[0],
            mode="markers",
            name="oracle v*",
            legendgroup="oracle",
            showlegend=is_first,
            hovertemplate="oracle v*<extra></extra>",
        )
        oracle.marker = {"symbol": "x", "size": 9, "color": "black"}
        figure.add_trace(oracle, row=1, col=column)
        for name, members in families(points).items():
            _add_family(figure, column, name, members, is_first=is_first)
        for point in points:
            if point.is_auto:
                _add_auto(figure, column, point)
        figure.update_xaxes(title="bias² / ‖v*‖²", range=[low - 0.05 * bias_high, bias_high], row=1, col=column)
        figure.update_yaxes(range=[-0.03 * variance_high, variance_high], row=1, col=column)
        figure.update_xaxes(title="strength λ", range=[-0.05, 1.03], row=2, col=column)
        ends = [p.direction.mse for p in points if p.rule.name in ENDS]
        if ends:
            figure.update_yaxes(range=[0, 1.6 * max(ends)], row=2, col=column)
    figure.update_yaxes(title="variance / ‖v*‖²", row=1, col=1)
    figure.update_yaxes(title="mean squared error / ‖v*‖²", row=2, col=1)
    return figure


def _add_levels(figure: go.Figure, column: int, total: float) -> None:
    for step in range(1, _LINES + 1):
        level = total * step / _LINES
        line = go.Scatter(x=[0, level], y=[level, 0], mode="lines", showlegend=False, hoverinfo="skip")
        line.line = {"color": "#d5d5d5", "dash": "dot", "width": 1}
        figure.add_trace(line, row=1, col=column)


def _add_family(figure: go.Figure, column: int, name: str, members: Sequence[Point], *, is_first: bool) -> None:
    colour = colour_of(members[0].rule)
    plane = go.Scatter(
        x=[p.direction.bias_sq for p in members],
        y=[p.direction.variance for p in members],
        error_x={"array": [p.direction.bias_sq_stderr for p in members], "thickness": 0.6, "width": 0},
        error_y={"array": [p.direction.variance_stderr for p in members], "thickness": 0.6, "width": 0},
        mode="markers" if name in ENDS else "lines+markers",
        marker={"symbol": "star" if name in ENDS else "circle", "size": 14 if name in ENDS else 6},
        line={"color": colour, "width": 1.6},
        marker_color=colour,
        name=name,
        legendgroup=name,
        showlegend=is_first,
        text=[_hover(p) for p in members],
        hovertemplate="%{text}<extra></extra>",
    )
    figure.add_trace(plane, row=1, col=column)
    places = [p.place() for p in members]
    is_line = places[0] is None
    errors = [p.direction.mse for p in members]
    curve = go.Scatter(
        x=[0, 1] if is_line else places,
        y=errors * 2 if is_line else errors,
        error_y=None if is_line else {"array": [p.direction.mse_stderr for p in members], "thickness": 0.6, "width": 0},
        mode="lines" if is_line else "lines+markers",
        line={"color": colour, "width": 1.6, "dash": "dash" if is_line else "solid"},
        marker={"size": 6, "color": colour},
        name=name,
        legendgroup=name,
        showlegend=False,
        text=[_hover(p) for p in members] * (2 if is_line else 1),
        hovertemplate="%{text}<extra></extra>",
    )
    figure.add_trace(curve, row=2, col=column)


def _add_auto(figure: go.Figure, column: int, point: Point) -> None:
    for row, (x, y) in ((1, (point.direction.bias_sq, point.direction.variance)), (2, (-0.02, point.direction.mse))):
        mark = go.Scatter(
            x=[x],
            y=[y],
            mode="markers",
            marker={
                "symbol": "diamond",
                "size": 10,
                "color": colour_of(point.rule),
                "line": {"color": "black", "width": 1},
            },
            name=point.label,
            legendgroup=point.rule.name,
            showlegend=False,
            text=[_hover(point)],
            hovertemplate="%{text}<extra></extra>",
        )
        figure.add_trace(mark, row=row, col=column)


def _hover(point: Point) -> str:
    d = point.direction
    return (
        f"<b>{point.label}</b>, {point.rule.partition}<br>bias² {d.bias_sq:.3f} ± {d.bias_sq_stderr:.3f}<br>"
        f"variance {d.variance:.3f} ± {d.variance_stderr:.3f}<br>mse {d.mse:.3f} ± {d.mse_stderr:.3f}<br>"
        f"cos(u, v*) {d.cosine:.3f}, ‖u‖/‖v*‖ {d.norm_ratio:.2f}"
    )
