"""The `sketch` config group: its keys and rules, without torch."""

from dataclasses import dataclass
from enum import Enum

from drpt.checks import check_choice, check_interval


class SketchKind(Enum):
    """How the entries of a random matrix S [size, width] are drawn; always ``E[S Sᵀ] = I``."""

    GAUSSIAN = "gaussian"  # normal, variance 1/width (the paper's)
    RADEMACHER = "rademacher"  # ±1/√width
    ROW_MASK = "row_mask"  # a coordinate is kept or not; kept ones times √(size/width): no product at all
    SPARSE = "sparse"  # four entries ±½ a coordinate (sparse Johnson–Lindenstrauss; Kane and Nelson 2014)


@dataclass(kw_only=True)
class SketchSpec:
    """The random matrices of ``regularizer.products=sketch``."""

    kind: str  # a value of SketchKind
    left_width: int  # columns for the first axis of a weight: outputs, or the vocabulary of a table
    right_width: int  # columns for the second axis: inputs, or the width of a table
    seed: int  # draws the random matrices
    refresh_steps: int | None  # optimizer steps after which new matrices are drawn; null = never

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        check_choice("sketch.kind", self.kind, [member.value for member in SketchKind])
        for name in ("left_width", "right_width"):
            check_interval(f"sketch.{name}", getattr(self, name), low=1, meaning="columns of the random matrices of that side")
        check_interval("sketch.seed", self.seed, low=0, meaning="of the random matrices")
        if self.refresh_steps is not None:
            check_interval("sketch.refresh_steps", self.refresh_steps, low=1, meaning="steps between new matrices")


# For callers without configuration; the same as ``conf/sketch/gaussian.yaml``.
DEFAULT_SKETCH = SketchSpec(kind="gaussian", left_width=64, right_width=64, seed=0, refresh_steps=None)
