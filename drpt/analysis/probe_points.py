"""The result of `drpt probe`: one point for each rule, with what charts, tables and files need of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from drpt.analysis.bias_variance import Direction
from drpt.analysis.probe_grid import is_alike
from drpt.modules.regularizer_spec import RegularizerSpec

ENDS = ("target_only", "full")  # of the spectrum


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One rule at one batch size, with its measured figures."""

    rule: RegularizerSpec
    general_rows: int  # n
    target_rows: int  # m
    target: str  # "unseen", or "used" for target examples that the model was trained on
    direction: Direction

    @property
    def is_auto(self) -> bool:
        """Whether the dial was chosen automatically in every draw."""
        return self.rule.is_auto

    @property
    def label(self) -> str:
        """Family and dials."""
        return self.rule.label

    @property
    def dial(self) -> str:
        """The strength as tables show it, or the relaxation if that is varied; empty if there is neither."""
        for sign, value in (("ρ=", self.rule.relaxation or None), ("", self.rule.strength)):
            if value is not None:
                return f"{sign}{value}" if isinstance(value, str) else f"{sign}{value:g}"
        return ""

    def place(self) -> float | None:
        """Position of the dial on an axis from 0 (weak) to 1 (strong): λ, λ/(1 + λ) if λ is unbounded, or 1 − ρ."""
        strength = self.rule.strength
        if isinstance(self.rule.relaxation, float) and self.rule.relaxation > 0.0:
            return 1.0 - self.rule.relaxation
        if strength is None or isinstance(strength, str):
            return None
        domain = None if self.rule.entry is None else self.rule.entry.strength
        is_endless = domain is not None and domain.high == float("inf")
        return float(strength) / (1.0 + float(strength)) if is_endless else float(strength)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A whole probe."""

    title: str
    points: list[Point]
    target_size: tuple[float, float]  # ‖v*‖² and its standard error
    sketch_width: int | None  # rows of each random matrix; None = exact gradients
    sketch_stderr: float | None  # relative standard error of a squared distance
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """The batch sizes (n, m) in the order of measuring."""
        return list(dict.fromkeys((point.general_rows, point.target_rows) for point in self.points))

    @property
    def partitions(self) -> list[str]:
        """Coarse to fine."""
        return list(dict.fromkeys(point.rule.partition for point in self.points if point.target == "unseen"))

    @property
    def target_text(self) -> str:
        """``‖v*‖²`` in words."""
        return f"‖v*‖² = {self.target_size[0]:.3g} ± {self.target_size[1]:.2g}"

    def of(self, size: tuple[int, int] | None, *, partition: str | None = None, target: str = "unseen") -> list[Point]:
        """Select points of one batch size and of one partition's panel, which includes rules without a partition.

        Args:
            size: Batch size (n, m); None for all.
            partition: Name of the partition; None for all.
            target: Kind of target examples: ``unseen`` or ``used``.

        Returns:
            Points in the order of measuring.
        """
        return [
            point
            for point in self.points
            if point.target == target
            and size in {None, (point.general_rows, point.target_rows)}
            and (partition is None or point.rule.partition == partition or (is_alike(point.rule) and not point.is_auto))
        ]

    def as_record(self) -> dict[str, Any]:
        """Plain values for JSON; the oracle v* is the point from which all errors are measured."""
        return {
            "title": self.title,
            "target_size": {"square": self.target_size[0], "stderr": self.target_size[1]},
            "sketch": {"width": self.sketch_width, "relative_stderr_of_squares": self.sketch_stderr},
            "seconds": self.seconds,
            "oracle": {"bias_sq": 0.0, "variance": 0.0, "mse": 0.0},
            "points": [
                {
                    "rule": asdict(point.rule),
                    "n": point.general_rows,
                    "m": point.target_rows,
                    "target": point.target,
                    "direction": asdict(point.direction),
                }
                for point in self.points
            ],
        }


def best_points(points: Sequence[Point], *, over_partitions: bool = False) -> list[Point]:
    """The point with the smallest error in each family, automatic ones as families of their own; smallest error first.

    Args:
        points: Points of one batch size.
        over_partitions: Whether to choose one point over all partitions, instead of one in each.

    Returns:
        The points; they were chosen on the same draws as their figures, a slight optimistic bias.
    """
    best: dict[tuple[str, str, bool], Point] = {}
    for point in points:
        key = (point.rule.name, "" if over_partitions else point.rule.partition, point.is_auto)
        if key not in best or point.direction.mse < best[key].direction.mse:
            best[key] = point
    return sorted(best.values(), key=lambda point: point.direction.mse)


def families(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Curves: the points of each family with a fixed strength or none, from weak to strong."""
    found: dict[str, list[Point]] = {}
    for point in points:
        if not point.is_auto:
            found.setdefault(point.rule.name, []).append(point)
    return found


def limits(points: Sequence[Point]) -> tuple[float, float, float]:
    """Lowest and highest bias², and highest variance, with room for all points except those far beyond both ends."""
    ends = [point.direction for point in points if point.rule.name in ENDS]
    cap = 2.0 * max((direction.mse for direction in ends), default=float("inf"))
    shown = [p.direction for p in points if p.direction.mse <= cap]
    biases, variances = [d.bias_sq for d in shown], [d.variance for d in shown]
    # An unbiased estimate of a bias² near zero may be negative.
    return min(0.0, *biases), 1.08 * max(biases), 1.08 * max(variances)
