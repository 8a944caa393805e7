"""Pictures of the documentation, drawn by the package's own geometry when the site is built.

Gradients here are vectors of two coordinates, so that sets can be seen. Every projection shown is computed by the code that
trains models.
"""

import io
from collections.abc import Callable
from itertools import pairwise

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Polygon

import drpt
from drpt.geometry.products import GeneralRows, Products

GENERAL = np.array([[1.6, 0.2], [1.1, 1.25], [0.1, 1.3], [1.9, -0.7]])
TARGET = np.array([0.75, 2.0])
# Colours of Okabe and Ito, which colour-blind readers tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
_STYLE = {"font.size": 10, "svg.fonttype": "path", "svg.hashsalt": "drpt", "axes.spines.top": False, "axes.spines.right": False}


def update(preset: str, gradients: np.ndarray = GENERAL, **changes: object) -> np.ndarray:
    """The update that a regularizer makes of general gradients and `TARGET`."""
    general, target = torch.tensor(gradients), torch.tensor(TARGET)
    products = Products(
        alignment=(general @ target)[None], target_sq=(target @ target)[None], gramian=(general @ general.T)[None]
    )
    count = len(general)
    rows = GeneralRows(base_weights=torch.full((count,), 1 / count).double(), example_ids=torch.arange(count), step_index=0)
    found = drpt.regularizer(preset, **changes).coefficients(rows, products, [0])
    return (found.general[0] @ general + found.target[0] * target).numpy()


def _arrow(axes: Axes, end: np.ndarray, color: str, label: str = "", width: float = 0.012, start=(0.0, 0.0)) -> None:
    axes.quiver(*start, *(end - start), angles="xy", scale_units="xy", scale=1, color=color, width=width, zorder=3)
    if label:
        away = end / np.linalg.norm(end) * 0.17
        axes.text(*(end + away), label, color=color, ha="center", va="center", fontsize=11, fontweight="bold")


def _panel(axes: Axes, title: str, projected: np.ndarray, note: str = "", shown: tuple[int, ...] = (0, 1, 2, 3)) -> None:
    for number in shown:
        gradient = GENERAL[number]
        _arrow(axes, gradient, GREY, f"g{'₁₂₃₄'[number]}", width=0.008)
    is_target = bool(np.allclose(projected, TARGET))
    _arrow(axes, TARGET, BLUE, "" if is_target else "v")
    _arrow(axes, projected, ORANGE, "u = v" if is_target else "u")
    axes.plot(*zip(projected, TARGET, strict=True), color=ORANGE, linestyle=":", linewidth=1.4, zorder=2)
    axes.set_title(title, fontsize=10.5)
    if note:
        axes.text(0.5, -0.06, note, transform=axes.transAxes, ha="center", va="top", fontsize=8, color="#444444")
    axes.set(xlim=(-0.6, 2.5), ylim=(-1.15, 2.6), xticks=[], yticks=[])
    axes.set_aspect("equal")
    axes.axhline(0, color="#dddddd", linewidth=0.8, zorder=0)
    axes.axvline(0, color="#dddddd", linewidth=0.8, zorder=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _hull_points(cap: float) -> np.ndarray:
    """Corners of {Σ c_i g_i : Σ c = 1, 0 ≤ c_i ≤ cap}."""
    rng = np.random.default_rng(0)
    corners = []
    for angle in np.linspace(0, 2 * np.pi, 360):
        order = np.argsort(GENERAL @ [np.cos(angle), np.sin(angle)] + 1e-9 * rng.random(len(GENERAL)))[::-1]
        weights, left = np.zeros(len(GENERAL)), 1.0
        for index in order:
            weights[index] = min(cap, left)
            left -= weights[index]
        corners.append(weights @ GENERAL)
    return np.array(corners)


def _fill(axes: Axes, points: np.ndarray) -> None:
    axes.add_patch(Polygon(points, closed=True, facecolor=GREEN, alpha=0.18, edgecolor=GREEN, linewidth=1.2, zorder=1))


def step_in_2d() -> Figure:
    """One projection, for the first page."""
    figure, axes = plt.subplots(figsize=(4.6, 3.6))
    projected = update("global_hull", strength=0.25)
    _fill(axes, _hull_points(1.0))
    _panel(axes, "", projected)
    axes.text(1.75, 0.62, "feasible set:\nweighted means\nof general gradients", color=GREEN, fontsize=8.5, va="center")
    axes.text(0.02, 2.35, "target gradient", color=BLUE, fontsize=8.5, ha="center")
    axes.text(1.42, 1.72, "update: the closest\npoint of the set", color=ORANGE, fontsize=8.5)
    return figure


def feasible_sets() -> Figure:
    """Six sets and the projection onto each."""
    figure, grid = plt.subplots(2, 3, figsize=(9.6, 7.0))
    mean = GENERAL.mean(0)
    panels = list(grid.flat)
    _panel(panels[0], "mean", update("full"), "one point: the mean of the general gradients")
    panels[0].plot(*mean, "o", color=GREEN, markersize=8, zorder=2)
    halves = [GENERAL[[i, j]].mean(0) for i in range(4) for j in range(i)]
    _panel(panels[1], "subset, half of the examples", update("global_subset", strength=0.5), "the mean of the k best aligned")
    panels[1].plot(*np.array(halves).T, "o", color=GREEN, markersize=6, zorder=4)
    _fill(panels[2], _hull_points(0.5))
    _panel(panels[2], "hull, no weight above ½", update("global_hull", strength=0.5), "weighted means; corners are the subsets")
    three = (0, 1, 3)
    _fill(panels[3], np.array([[0, 0], 6 * GENERAL[3], 6 * GENERAL[1]]))
    projected = update("layerwise_cone", GENERAL[list(three)], partition="global")
    _panel(panels[3], "cone of three examples", projected, "non-negative combinations", shown=three)
    weight = 0.5
    radius = (1 - weight) * np.linalg.norm(TARGET - mean)
    panels[4].add_patch(Circle(mean, radius, facecolor=GREEN, alpha=0.18, edgecolor=GREEN, zorder=1))
    _panel(panels[4], "ball (mix), λ = ½", update("mix", strength=weight), "a ball around the mean: the losses mixed")
    panels[5].set_facecolor("#e3f3ee")
    _panel(panels[5], "whole space", update("target_only"), "every update: target-only training")
    figure.subplots_adjust(hspace=0.3, wspace=0.08)
    return figure


def strength() -> Figure:
    """The hull at four strengths."""
    figure, grid = plt.subplots(1, 4, figsize=(11.0, 3.2))
    for axes, value in zip(grid, (0.25, 0.5, 0.75, 1.0), strict=True):
        projected = update("global_hull", strength=value)
        if value < 1:
            _fill(axes, _hull_points(0.25 / value))
        _panel(axes, f"λ = {value:g}", projected, f"distance to v: {np.linalg.norm(projected - TARGET):.2f}")
    figure.subplots_adjust(wspace=0.05)
    return figure


def partition() -> Figure:
    """Which layers of a model of three transformer blocks make a block of parameters."""
    kinds = ("q", "k", "v", "o", "up", "down")
    names = {
        "global": lambda layer, kind: 0,
        "block": lambda layer, kind: layer,
        "kind": lambda layer, kind: kind,
        "layer": lambda layer, kind: layer * len(kinds) + kind,
    }
    figure, grid = plt.subplots(1, 4, figsize=(10.0, 2.6))
    palette = plt.get_cmap("tab20").colors
    for axes, (name, block_of) in zip(grid, names.items(), strict=True):
        count = 0
        for layer in range(3):
            for kind, label in enumerate(kinds):
                block = block_of(layer, kind)
                count = max(count, block + 1)
                axes.add_patch(
                    FancyBboxPatch(
                        (kind, layer), 0.8, 0.62, boxstyle="round,pad=0.04", facecolor=palette[block % 20], edgecolor="none"
                    )
                )
                axes.text(kind + 0.4, layer + 0.31, label, ha="center", va="center", fontsize=8)
        axes.set(xlim=(-0.2, 6.0), ylim=(-0.2, 2.9), title=f"{name}: {count} block{'s' * (count > 1)}")
        axes.axis("off")
    grid[0].text(-0.45, 1.3, "three transformer blocks", rotation=90, ha="center", va="center", fontsize=8)
    return figure


def bias_and_variance() -> Figure:
    """Closed forms for Gaussian gradients: bias², variance and their sum along λ of `mix`."""
    dial = np.linspace(0, 1, 101)
    bias_sq, target_noise, general_noise = 0.5 * dial**2, 0.6, 0.1
    variance = (1 - dial) ** 2 * target_noise + dial**2 * general_noise
    figure, axes = plt.subplots(figsize=(5.6, 3.3))
    axes.plot(dial, bias_sq, color=BLUE, label="bias²")
    axes.plot(dial, variance, color=ORANGE, label="variance")
    axes.plot(dial, bias_sq + variance, color="black", linewidth=2, label="error: their sum")
    best = dial[np.argmin(bias_sq + variance)]
    axes.axvline(best, color=GREY, linestyle=":", linewidth=1)
    axes.annotate(f"least error, λ = {best:.2f}", (best, 0.30), (best - 0.21, 0.04), fontsize=9, color="#444444")
    axes.set(xlabel="λ: weight of the general mean", ylabel="relative to ‖v*‖²", xlim=(0, 1), ylim=(0, None))
    axes.text(0.0, -0.27, "target-only", transform=axes.transAxes, ha="left", fontsize=9, color="#444444")
    axes.text(1.0, -0.27, "general only", transform=axes.transAxes, ha="right", fontsize=9, color="#444444")
    axes.legend(frameon=False, loc="upper center")
    return figure


def _boxes(axes: Axes, boxes: dict[str, tuple[float, float, str]], arrows: list[tuple[str, str]], width: float) -> None:
    for name, (left, bottom, text) in boxes.items():
        axes.add_patch(
            FancyBboxPatch((left, bottom), width, 0.8, boxstyle="round,pad=0.06", facecolor="#eef3fa", edgecolor=BLUE)
        )
        axes.text(left + width / 2, bottom + 0.53, name, ha="center", va="center", fontsize=10, fontweight="bold")
        axes.text(left + width / 2, bottom + 0.2, text, ha="center", va="center", fontsize=7.6, color="#444444")
    for one, other in arrows:
        (left, bottom, _), (to_left, to_bottom, _) = boxes[one], boxes[other]
        if bottom == to_bottom:
            start, end = (left + width + 0.08, bottom + 0.4), (to_left - 0.08, bottom + 0.4)
        else:
            start, end = (left + width / 2, bottom - 0.09), (to_left + width / 2, to_bottom + 0.9)
        axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": GREY})
    axes.axis("off")


def step() -> Figure:
    """What happens in one training step."""
    figure, axes = plt.subplots(figsize=(10.4, 3.6))
    boxes = {
        "batch": (0.0, 1.6, "n general rows, m target rows"),
        "forward": (2.9, 1.6, "sample_losses [n + m]"),
        "backward": (5.8, 1.6, "of their sum"),
        "each layer": (8.7, 1.6, "activations, output gradients"),
        "optimizer": (0.0, 0.0, "clipping and AdamW, as always"),
        "update": (2.9, 0.0, "Σ cᵢ gᵢ + a v into .grad"),
        "geometry": (5.8, 0.0, "coefficients c, a"),
        "products": (8.7, 0.0, "⟨gᵢ, v⟩, ⟨gᵢ, gⱼ⟩, ‖v‖²"),
    }
    order = ["batch", "forward", "backward", "each layer"]
    _boxes(axes, boxes, list(pairwise(order)), width=2.4)
    for one, other in (("products", "geometry"), ("geometry", "update"), ("update", "optimizer")):
        start, end = (boxes[one][0] - 0.08, 0.4), (boxes[other][0] + 2.48, 0.4)
        axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": GREY})
    axes.annotate("", (9.9, 0.9), (9.9, 1.51), arrowprops={"arrowstyle": "-|>", "color": GREY})
    axes.set(xlim=(-0.2, 11.3), ylim=(-0.2, 2.6))
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "step_in_2d": step_in_2d,
    "feasible_sets": feasible_sets,
    "strength": strength,
    "partition": partition,
    "bias_and_variance": bias_and_variance,
    "step": step,
}


def draw(name: str) -> str:
    """A picture as SVG; the same bytes every time."""
    with plt.rc_context(_STYLE):
        figure = PICTURES[name]()
        file = io.StringIO()
        figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
        plt.close(figure)
    return file.getvalue()
