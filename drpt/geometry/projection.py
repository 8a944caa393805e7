"""The projection of a target gradient: a feasible set, a score for sets that rank, and a relaxation towards the target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature

from drpt.geometry.auto import AutoStrength
from drpt.geometry.entry import AUTO
from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.finite import require_finite_coefficients, require_finite_products
from drpt.geometry.lookup import score_class, set_class
from drpt.geometry.mean import Mean
from drpt.geometry.products import Coefficients, GeneralRows, Products
from drpt.geometry.score import Score
from drpt.geometry.spec import ProjectionSpec


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Maps the products of a step to the coefficients of its update, ``u = (1−ρ) P_F(v) + ρ v`` in every block."""

    feasible_set: FeasibleSet
    score: Score
    relaxation: float  # ρ in [0, 1]; ignored where `auto` is given
    auto: AutoStrength | None = None  # chooses strength or relaxation; the set is then one of its candidates

    @property
    def is_projecting(self) -> bool:
        """Whether the projection counts at all; with ρ = 1 it does not."""
        return self.auto is not None or self.relaxation < 1.0

    @property
    def needs_general(self) -> bool:
        """Whether the update depends on general examples; if not, a step may leave their rows out."""
        return self.is_projecting and self.feasible_set.uses_general

    @property
    def needs_target(self) -> bool:
        """Whether the update depends on the target gradient; if not, a step may leave the target rows out."""
        return self.relaxation > 0.0 or self.feasible_set.uses_target or self.needs_products

    @property
    def needs_products(self) -> bool:
        """Whether the coefficients depend on gradients at all."""
        by_score = self.feasible_set.takes_score and self.score.needs_products
        return self.auto is not None or (self.is_projecting and (self.feasible_set.needs_products or by_score))

    @property
    def needs_gramian(self) -> bool:
        """Whether the coefficients depend on inner products of general gradients with each other."""
        return self.auto is not None or (self.is_projecting and self.feasible_set.needs_gramian)

    @property
    def needs_spread(self) -> bool:
        """Whether the coefficients depend on the target examples one by one."""
        return self.auto is not None

    def most_kept(self, num_general: int) -> int:
        """The largest number of general examples that may have a coefficient other than zero.

        Args:
            num_general: Number n of general examples.

        Returns:
            A number from 0 to n.
        """
        if self.auto is not None:
            return num_general
        return min(num_general, self.feasible_set.most_kept(num_general))

    def coefficients(self, rows: GeneralRows, products: Products | None, blocks: Sequence[int]) -> Coefficients:
        """Coefficients of the update in the given blocks.

        Args:
            rows: The general examples.
            products: Inner products of these blocks, with everything that `needs_gramian` and `needs_spread` ask for; may be
                None where `needs_products` is false.
            blocks: Index of each block in the partition.

        Returns:
            ``c`` [block, general] and ``a`` [block], relaxed.

        Raises:
            NonFiniteProductsError: A score, an inner product or a coefficient is NaN or infinite.
        """
        if products is not None and self.needs_products:
            require_finite_products(products, rows, blocks)
        if self.auto is not None:
            assert products is not None
            return require_finite_coefficients(self.auto.coefficients(rows, products, blocks), rows, blocks)
        if not self.is_projecting:
            weights = rows.weights(len(blocks))
            return Coefficients(general=weights.new_zeros(weights.shape), target=weights.new_ones(len(blocks)))
        scores = self.score(rows, products, blocks) if self.feasible_set.takes_score else None
        found = self.feasible_set.project(rows, products, scores, len(blocks))
        return relax(require_finite_coefficients(found, rows, blocks), self.relaxation)


def relax(coefficients: Coefficients, relaxation: float) -> Coefficients:
    """``u ← (1−ρ) u + ρ v``: a dial from the projection (0) to target-only training (1).

    Args:
        coefficients: Coefficients of the projection.
        relaxation: ρ in [0, 1].

    Returns:
        The relaxed coefficients.
    """
    return Coefficients(
        general=(1.0 - relaxation) * coefficients.general,
        target=(1.0 - relaxation) * coefficients.target + relaxation,
        solved=coefficients.solved,
    )


def build_projection(spec: ProjectionSpec, *, seed: int) -> Projection:
    """The projection that a checked ``spec`` describes.

    Args:
        spec: Set, score and dials.
        seed: Seed of the run, for scores whose constructor takes one.

    Returns:
        The projection.

    Raises:
        ValueError: A dotted path leads to no `FeasibleSet` or `Score`.
    """
    ranks: Callable[..., Score] = score_class(spec.score)
    score = ranks(seed=seed) if "seed" in signature(ranks).parameters else ranks()
    candidates, strengths = _candidates(spec)
    auto = None
    if spec.is_auto:
        is_chosen = spec.relaxation == AUTO or strengths is None  # the ball's strength is a relaxation of the mean
        relaxation = None if is_chosen else float(spec.relaxation)
        auto = AutoStrength(candidates, strengths, score, relaxation=relaxation, memory=spec.auto_memory)
    return Projection(
        feasible_set=candidates[0],
        score=score,
        relaxation=0.0 if spec.relaxation == AUTO else float(spec.relaxation),
        auto=auto,
    )


def _candidates(spec: ProjectionSpec) -> tuple[list[FeasibleSet], Sequence[float | None] | None]:
    """The set, once for each strength that is in question; see `AutoStrength`."""
    build: Callable[..., FeasibleSet] = set_class(spec.set)
    dials = {} if spec.step_size is None else {"step_size": spec.step_size}
    if spec.strength is None:
        return [build(**dials)], [None]
    if spec.strength != AUTO:
        return [build(strength=spec.strength, **dials)], [None]
    entry = spec.entry
    assert entry is not None
    if entry.is_auto_closed:
        return [Mean()], None
    return [build(strength=strength, **dials) for strength in entry.auto_grid], entry.auto_grid
