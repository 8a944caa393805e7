"""What sets, scores, partitions and product methods exist, in words and numbers: no torch, so that ``drpt`` starts at once.

A name in a configuration is looked up here; the class behind it is imported only when a run begins. A set or score from
outside the package is given by its dotted path (``my_package.sets.MySet``) instead of a name.
"""

from dataclasses import dataclass
from enum import Enum
from math import inf


class Partition(Enum):
    """How parameters are grouped into blocks; finer = larger feasible set = weaker regularization."""

    GLOBAL = "global"  # one block
    BLOCK = "block"  # one a transformer block; a module outside them is its own
    KIND = "kind"  # all q_proj together, all down_proj together, …
    LAYER = "layer"  # one a module that owns parameters


class ProductsMethod(Enum):
    """How inner products of per-example gradients are formed; all of these are exact."""

    AUTO = "auto"  # the cheaper of the two below for each layer, by counting operations
    REDUCED = "reduced"  # form v's block, then <o_t, V x_t> for each general token
    PAIRWISE = "pairwise"  # token by token: <o_t, o_t'> <x_t, x_t'>; never forms v


class BaseWeights(Enum):
    """The weights ω of the general examples; they sum to 1."""

    EXAMPLE = "example"  # 1/n each
    TOKEN = "token"  # each example's share of the batch's loss tokens (as the paper does)


@dataclass(frozen=True)
class Strength:
    """The domain of a set's strength λ: ``low`` to ``high``; larger is stronger."""

    low: float
    high: float
    is_low_included: bool
    meaning: str
    at_low: str
    at_high: str

    def admits(self, value: float) -> bool:
        """Whether ``value`` lies in the domain; NaN and infinity do not."""
        is_above = self.low <= value if self.is_low_included else self.low < value
        return is_above and value <= self.high and value < inf

    def __str__(self) -> str:
        """The interval, as mathematicians write it."""
        end = "∞)" if self.high == inf else f"{self.high:g}]"
        return f"{'[' if self.is_low_included else '('}{self.low:g}, {end}"


@dataclass(frozen=True)
class SetEntry:
    """One feasible set: where its class is, what it is, and whether a strength or a score belongs to it."""

    target: str
    formula: str
    update: str
    strength: Strength | None = None
    takes_score: bool = False


@dataclass(frozen=True)
class ScoreEntry:
    """One way of ranking examples."""

    target: str
    meaning: str


SETS: dict[str, SetEntry] = {
    "whole_space": SetEntry(
        target="drpt.geometry.whole_space.WholeSpace",
        formula="R^d",
        update="v: target-only training",
    ),
    "mean": SetEntry(
        target="drpt.geometry.mean.Mean",
        formula="{Σ ω_i g_i}",
        update="the general mean: standard training on the general pool",
    ),
    "subset": SetEntry(
        target="drpt.geometry.subset.Subset",
        formula="{ω-mean of S : |S| = k}",
        update="the ω-mean of the k examples with the highest score",
        strength=Strength(
            low=0.0,
            high=1.0,
            is_low_included=False,
            meaning="share of the general examples kept, k/n",
            at_low="only the best example",
            at_high="all examples: the same as `mean`",
        ),
        takes_score=True,
    ),
    "filter": SetEntry(
        target="drpt.geometry.filter.Filter",
        formula="{ω-mean of S : S ⊇ {s_i ≥ 0}}",
        update="the ω-mean without the examples that point against v, most negative first",
        strength=Strength(
            low=0.0,
            high=1.0,
            is_low_included=True,
            meaning="share of the negatives that is kept",
            at_low="every example with a negative score is dropped",
            at_high="all examples: the same as `mean`",
        ),
        takes_score=True,
    ),
    "hull": SetEntry(
        target="drpt.geometry.hull.Hull",
        formula="{Σ c_i g_i : Σ c = 1, 0 ≤ c_i ≤ ω_i/λ}",
        update="the weighted mean closest to v: the convex relaxation of `subset`",
        strength=Strength(
            low=0.0,
            high=1.0,
            is_low_included=False,
            meaning="an example's weight is at most ω_i/λ; of n examples at least λn take part",
            at_low="the whole hull (from 1/n on, with uniform ω)",
            at_high="the same as `mean`",
        ),
    ),
    "cone": SetEntry(
        target="drpt.geometry.cone.Cone",
        formula="{Σ c_i g_i : c ≥ 0}",
        update="the non-negative combination closest to v",
    ),
    "span": SetEntry(
        target="drpt.geometry.span.Span",
        formula="{Σ c_i g_i}",
        update="the combination closest to v, with a ridge",
        strength=Strength(
            low=0.0,
            high=inf,
            is_low_included=True,
            meaning="ridge, relative to the gradients' mean square",
            at_low="the subspace of the general gradients",
            at_high="towards a vanishing update along Σ ω_i s_i g_i",
        ),
    ),
    "halfspace": SetEntry(
        target="drpt.geometry.halfspace.Halfspace",
        formula="{u : <u, ḡ> ≥ 0}",
        update="v, less its part against the general mean: A-GEM",
    ),
    "dual_cone": SetEntry(
        target="drpt.geometry.dual_cone.DualCone",
        formula="{u : <u, g_i> ≥ 0 for all i}",
        update="the direction closest to v that goes against no general example: GEM",
    ),
    "ball": SetEntry(
        target="drpt.geometry.ball.Ball",
        formula="{u : ‖u − ḡ‖ ≤ (1−λ) ‖v − ḡ‖}",
        update="λ ḡ + (1−λ) v: the two losses mixed",
        strength=Strength(
            low=0.0,
            high=1.0,
            is_low_included=True,
            meaning="weight of the general mean",
            at_low="target-only training",
            at_high="standard training on the general pool",
        ),
    ),
}

SCORES: dict[str, ScoreEntry] = {
    "alignment": ScoreEntry("drpt.geometry.score.AlignmentScore", "ω_i <g_i, v>: the method of the paper"),
    "random": ScoreEntry("drpt.geometry.score.RandomScore", "a number drawn anew for each step and block: the baseline"),
}
