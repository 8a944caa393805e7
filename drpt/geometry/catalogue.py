"""Which sets and scores exist, in words and numbers: no torch, so that ``drpt`` starts at once.

A name in a configuration is looked up here; the class behind it is imported only when a run begins. A set or score from
outside the package is given by its dotted path (``my_package.sets.MySet``) instead of a name.
"""

from dataclasses import dataclass
from math import inf

MOST = 1e6  # of a strength without an end, and of a step size: what they tend to is reached to six digits


@dataclass(frozen=True)
class Strength:
    """The domain of a set's strength λ: ``low`` to ``high``, but no more than `MOST`; larger is stronger."""

    low: float
    high: float
    is_low_included: bool
    meaning: str
    at_low: str
    at_high: str
    is_optional: bool = False  # null stands for ``low``: neither ridge nor margin

    def admits(self, value: float) -> bool:
        """Whether ``value`` lies in the domain; NaN and infinity do not."""
        is_above = self.low <= value if self.is_low_included else self.low < value
        return is_above and value <= min(self.high, MOST)

    def __str__(self) -> str:
        """The interval, as mathematicians write it."""
        return f"{'[' if self.is_low_included else '('}{self.low:g}, {min(self.high, MOST):g}]"


@dataclass(frozen=True)
class SetEntry:
    """One feasible set: where its class is, what it is, and which dials belong to it."""

    target: str
    formula: str
    update: str
    source: str  # who has it from whom
    relatives: str = ""  # what it is equal to, contains or tends to
    strength: Strength | None = None
    takes_score: bool = False
    chooses: bool = False  # an example is in its mean or has no part in it: a choice that can stand for a whole rollout phase
    takes_step_size: bool = False
    auto_grid: tuple[float, ...] = ()  # strengths that `auto` chooses from
    is_auto_closed: bool = False  # the best strength has a closed form instead


@dataclass(frozen=True)
class ScoreEntry:
    """One way of ranking examples."""

    target: str
    meaning: str


AUTO = "auto"  # in place of a number: the strength with the smallest estimated error, see `drpt.geometry.auto`
MAX_EXACT_SUBSET = 16  # general examples whose subsets are enumerated

_SHARE_KEPT = Strength(
    low=0.0,
    high=1.0,
    is_low_included=False,
    meaning="share of the general examples kept, k/n",
    at_low="only the best example",
    at_high="all examples: the same as `mean`",
)
_SHARES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
_RIDGES = (0.0, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)

SETS: dict[str, SetEntry] = {
    "whole_space": SetEntry(
        target="drpt.geometry.whole_space.WholeSpace",
        formula="R^d",
        update="v: target-only training",
        source="ordinary fine-tuning on the target",
        relatives="what every relaxation ρ → 1 and `ball` at λ = 0 lead to",
    ),
    "mean": SetEntry(
        target="drpt.geometry.mean.Mean",
        formula="{Σ ω_i g_i}",
        update="the general mean: standard training on the general pool",
        source="ordinary fine-tuning on the general pool",
        relatives="`subset`, `filter` and `hull` at λ = 1, `ball` at λ = 1",
    ),
    "subset": SetEntry(
        target="drpt.geometry.subset.Subset",
        formula="{ω-mean of S : |S| = k}",
        update="the ω-mean of the k examples with the highest score",
        source="layer partition: Dr. Post-Training (Hu et al. 2026); global: GREATS, first order (Wang et al. 2024)",
        relatives="its convex relaxation is `hull`; the point of it closest to v is `exact_subset`; score=random: the baseline",
        strength=_SHARE_KEPT,
        takes_score=True,
        auto_grid=_SHARES,
        chooses=True,
    ),
    "greedy_greats": SetEntry(
        target="drpt.geometry.greedy_greats.GreedyGreats",
        formula="{ω-mean of S : |S| = k}",
        update="k examples chosen one by one by η s_i − η² Σ_{j∈S} <g_i, g_j>",
        source="GREATS, second order (Wang et al. 2024)",
        relatives="regularizer.step_size η → 0: `subset` by alignment",
        strength=_SHARE_KEPT,
        takes_step_size=True,
        chooses=True,
    ),
    "greedy_euclidean": SetEntry(
        target="drpt.geometry.greedy_euclidean.GreedyEuclidean",
        formula="{ω-mean of S : |S| = k}",
        update="k examples chosen one by one so that their mean comes closest to v",
        source="greedy projection onto `subset`'s points",
        relatives="never closer to v than `exact_subset`, which for λn = k and uniform ω is never closer than `hull`",
        strength=_SHARE_KEPT,
        auto_grid=_SHARES,
        chooses=True,
    ),
    "exact_subset": SetEntry(
        target="drpt.geometry.exact_subset.ExactSubset",
        formula="{ω-mean of S : |S| = k}",
        update="the mean of k examples that is closest to v, of all there are",
        source=f"enumeration; n is at most {MAX_EXACT_SUBSET}",
        relatives="the projection that `greedy_euclidean` approaches and `hull` relaxes",
        strength=_SHARE_KEPT,
    ),
    "filter": SetEntry(
        target="drpt.geometry.filter.Filter",
        formula="{ω-mean of S : S ⊇ {s_i ≥ 0}}",
        update="the ω-mean without the examples that point against v, most negative first",
        source="negative filtering of Dr. Post-Training (Hu et al. 2026) in RLHF and RLVR at λ = 0",
        strength=Strength(
            low=0.0,
            high=1.0,
            is_low_included=True,
            meaning="share of the negatives that is kept",
            at_low="every example with a negative score is dropped",
            at_high="all examples: the same as `mean`",
        ),
        takes_score=True,
        auto_grid=(0.0, 0.25, 0.5, 0.75, 1.0),
        chooses=True,
    ),
    "hull": SetEntry(
        target="drpt.geometry.hull.Hull",
        formula="{Σ c_i g_i : Σ c = 1, 0 ≤ c_i ≤ ω_i/λ}",
        update="the weighted mean closest to v: the convex relaxation of `subset`",
        source="convex relaxation of subset selection",
        relatives="contains the means of all k-subsets for λn = k and uniform ω; lies within `cone` and `span`",
        strength=Strength(
            low=0.0,
            high=1.0,
            is_low_included=False,
            meaning="an example's weight is at most ω_i/λ; of n examples at least λn take part",
            at_low="the whole hull (from 1/n on, with uniform ω)",
            at_high="the same as `mean`",
        ),
        auto_grid=(0.125, 0.1875, 0.25, 0.375, 0.5, 0.75, 1.0),
    ),
    "cone": SetEntry(
        target="drpt.geometry.cone.Cone",
        formula="{Σ c_i g_i : c ≥ 0}",
        update="the non-negative combination closest to v",
        source="non-negative least squares; `gradmatch` is its greedy form",
        relatives="contains `hull`, lies within `span`; v − u is the projection onto its polar (Moreau 1962)",
        strength=Strength(
            low=0.0,
            high=inf,
            is_low_included=True,
            meaning="ridge on the coefficients, relative to the gradients' mean square",
            at_low="the whole cone",
            at_high="towards a vanishing update along Σ ω_i max(s_i, 0) g_i",
            is_optional=True,
        ),
        auto_grid=_RIDGES,
    ),
    "span": SetEntry(
        target="drpt.geometry.span.Span",
        formula="{Σ c_i g_i}",
        update="the combination closest to v, with a ridge",
        source="subspace projection",
        relatives="contains `cone` and `hull`; `top_span` cuts weak directions off instead of shrinking them",
        strength=Strength(
            low=0.0,
            high=inf,
            is_low_included=True,
            meaning="ridge on the coefficients, relative to the gradients' mean square",
            at_low="the subspace of the general gradients",
            at_high="towards a vanishing update along Σ ω_i s_i g_i",
        ),
        auto_grid=_RIDGES,
    ),
    "top_span": SetEntry(
        target="drpt.geometry.top_span.TopSpan",
        formula="{span of the r largest eigenvectors of Σ ω_i g_i g_iᵀ}",
        update="v projected onto the r main directions of the general gradients",
        source="principal subspace projection",
        relatives="λ = 0: `span` without a ridge",
        strength=Strength(
            low=0.0,
            high=1.0,
            is_low_included=True,
            meaning="share of the directions given up, 1 − r/n",
            at_low="the subspace of the general gradients",
            at_high="the one direction along which they are largest",
        ),
        auto_grid=(0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875),
    ),
    "halfspace": SetEntry(
        target="drpt.geometry.halfspace.Halfspace",
        formula="{u : <u, ḡ> ≥ 0}",
        update="v, less its part against the general mean: A-GEM",
        source="A-GEM (Chaudhry et al. 2019)",
        relatives="contains `dual_cone`",
    ),
    "dual_cone": SetEntry(
        target="drpt.geometry.dual_cone.DualCone",
        formula="{u : <u, g_i> ≥ 0 for all i}",
        update="the direction closest to v that goes against no general example: GEM",
        source="GEM (Lopez-Paz and Ranzato 2017), DualProj (Quinton and Rey 2024)",
        relatives="lies within `halfspace`; `pcgrad` is its one-pass approximation",
        strength=Strength(
            low=0.0,
            high=inf,
            is_low_included=True,
            meaning="margin: u goes at least λ ḡ beyond v (GEM's bound on the multipliers, d_i ≥ λ ω_i)",
            at_low="no margin: the projection itself",
            at_high="towards multiples of the direction closest to ḡ that goes against no general example",
            is_optional=True,
        ),
    ),
    "ball": SetEntry(
        target="drpt.geometry.ball.Ball",
        formula="{u : ‖u − ḡ‖ ≤ (1−λ) ‖v − ḡ‖}",
        update="λ ḡ + (1−λ) v: the two losses mixed",
        source="training on a mixture of both losses",
        relatives="`mean` relaxed with ρ = 1 − λ",
        strength=Strength(
            low=0.0,
            high=1.0,
            is_low_included=True,
            meaning="weight of the general mean",
            at_low="target-only training",
            at_high="standard training on the general pool",
        ),
        is_auto_closed=True,
    ),
    "pcgrad": SetEntry(
        target="drpt.geometry.pcgrad.PCGrad",
        formula="v, projected off one conflicting g_i after another",
        update="v without its conflicts, in the order of the score",
        source="PCGrad (Yu et al. 2020), with the target alone followed",
        relatives="a one-pass approximation of `dual_cone`; with one general example the same",
        takes_score=True,
    ),
    "mgda": SetEntry(
        target="drpt.geometry.mgda.Mgda",
        formula="argmin ‖u‖² over the hull of v and all g_i",
        update="the direction that every example and the target gain from",
        source="MGDA (Désidéri 2012; Sener and Koltun 2018)",
    ),
    "cagrad": SetEntry(
        target="drpt.geometry.cagrad.CAGrad",
        formula="argmax min_i <u, g_i> within {u : ‖u − v‖ ≤ λ ‖v‖}",
        update="near v, the direction whose worst general example gains most",
        source="CAGrad (Liu et al. 2021), centred on the target",
        strength=Strength(
            low=0.0,
            high=1.0,
            is_low_included=True,
            meaning="how far from v, relative to its length",
            at_low="target-only training",
            at_high="as far as v is long",
        ),
    ),
    "l2rw": SetEntry(
        target="drpt.geometry.l2rw.L2RW",
        formula="Σ c_i g_i, c_i ∝ max(ω_i s_i, 0)",
        update="examples weighted by their alignment, those against v left out",
        source="Learning to Reweight (Ren et al. 2018)",
        relatives="a soft `filter`",
    ),
    "gradmatch": SetEntry(
        target="drpt.geometry.gradmatch.GradMatch",
        formula="{Σ_{i∈S} c_i g_i : c ≥ 0, |S| ≤ k}",
        update="k examples chosen by matching pursuit, weighted to come closest to v",
        source="GradMatch (Killamsetty et al. 2021)",
        relatives="λ = 1: `cone` without a ridge",
        strength=Strength(
            low=0.0,
            high=1.0,
            is_low_included=False,
            meaning="share of the general examples that take part at most, k/n",
            at_low="the best aligned example alone",
            at_high="the same as `cone`",
        ),
    ),
}

SCORES: dict[str, ScoreEntry] = {
    "alignment": ScoreEntry("drpt.geometry.score.AlignmentScore", "ω_i <g_i, v>: the method of the paper"),
    "random": ScoreEntry("drpt.geometry.score.RandomScore", "a number drawn anew for each step and block: the baseline"),
}
