"""What charts show: held-out loss over steps, and final loss against strength."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from drpt.analysis.table import ZERO_SHOT, Estimate, Row, estimate

LOSS = "target/loss/mean"
ENDS = {"target_only": 0.0, "full": 1.0}  # of the spectrum, and the strength they stand for: none, and nothing else

# Okabe and Ito's palette: distinguishable with any colour vision. The ends have their own colours everywhere.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_COLOURS = {"target_only": "#222222", "target_only_stopped": "#7a7a7a", "full": "#8C564B", ZERO_SHOT: "#bbbbbb"}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Held-out loss of one point over steps."""

    label: str
    name: str
    steps: list[int]
    losses: list[Estimate]


@dataclass(frozen=True, kw_only=True)
class Family:
    """Final loss of one regularizer over its strengths."""

    name: str
    strengths: list[float]
    losses: list[Estimate]


def loss_curves(rows: Sequence[Row]) -> list[Curve]:
    """One curve a trained point, at the steps that all its seeds were measured at."""
    curves = []
    for row in rows:
        if row.name == ZERO_SHOT:
            continue
        by_seed = [dict(zip(*run.curve(LOSS), strict=True)) for run in row.runs]
        steps = sorted(set.intersection(*(set(values) for values in by_seed)))
        losses = [estimate([values[step] for values in by_seed]) for step in steps]
        curves.append(Curve(label=row.label, name=row.name, steps=steps, losses=losses))
    return curves


def strength_families(rows: Sequence[Row]) -> list[Family]:
    """Points that have a strength, by regularizer, weakest first."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        if row.strength is not None:
            # Points that differ in more than strength have the difference in their label; each is a family of its own.
            key = " ".join([row.name, *(part for part in row.label.split(" ")[1:] if not part.startswith("λ="))])
            families.setdefault(key, []).append(row)
    return [
        Family(
            name=name,
            strengths=[float(row.strength or 0.0) for row in members],
            losses=[row.values["loss"] for row in members],
        )
        for name, members in families.items()
    ]


def reference_losses(rows: Sequence[Row]) -> dict[str, Estimate]:
    """Final losses of the points without a strength, which charts mark as lines, by label."""
    return {row.label: row.values["loss"] for row in rows if row.strength is None and row.name != ZERO_SHOT}


def strongest(families: Sequence[Family]) -> float:
    """Right end of the strength axis: 1, or the largest ridge."""
    return max([1.0, *(max(family.strengths) for family in families)])


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """A colour for each regularizer's name, the same in all charts of a sweep."""
    others = [name for name in dict.fromkeys(names) if name not in _COLOURS]
    return _COLOURS | {name: _PALETTE[i % len(_PALETTE)] for i, name in enumerate(others)}


def strength_shades(curves: Sequence[Curve], name: str) -> dict[str, float]:
    """Opacity for the curves of one regularizer: its strengths from light to full."""
    labels = [curve.label for curve in curves if curve.name == name]
    return {label: 1.0 if len(labels) == 1 else 0.45 + 0.55 * i / (len(labels) - 1) for i, label in enumerate(labels)}


def axis_range(curves: Sequence[Curve]) -> tuple[float, float] | None:
    """Bounds of the loss axis that show where curves differ: from the lowest value to the highest after the start.

    The start is the same for all and often far above; it is left to run out of the picture.

    Args:
        curves: What is drawn.

    Returns:
        Lowest and highest loss to show; None when there is no finite loss after the start.
    """
    values = [loss.mean for curve in curves for loss in curve.losses[1:] if math.isfinite(loss.mean)]
    if not values:
        return None
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 0.05
    return low - margin, high + margin
