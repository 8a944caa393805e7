"""The inner products that a projection is given, and the coefficients that it returns.

Axes: ``block`` = blocks of parameters, ``general`` = general examples of the step, ``target`` = its target examples.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from drpt.errors import NonFiniteError
from drpt.geometry.solution import Solution


class NonFiniteProductsError(NonFiniteError):
    """A score, an inner product or a coefficient is NaN or infinite, so that there is no update.

    Args:
        message: Text that says what is not finite, and in which blocks and examples.
        blocks: Indices of the blocks within the partition; empty where they are not known.
        example_ids: Ids of the general examples concerned.
    """

    def __init__(self, message: str, *, blocks: tuple[int, ...] = (), example_ids: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.blocks = blocks
        self.example_ids = example_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Inner products of per-example gradients, one row a block, in float32 or better.

    Gradients are those of each example's own loss (a token mean), unscaled; ``v`` is the mean over the target examples.
    """

    alignment: Float[Tensor, "block general"]  # <g_i, v>
    target_sq: Float[Tensor, " block"]  # <v, v>
    gramian: Float[Tensor, "block general general"] | None = None  # <g_i, g_j>; given where a set asks for it
    cross: Float[Tensor, "block general target"] | None = None  # <g_i, v_j>; given for automatic strengths
    target_gramian: Float[Tensor, "block target target"] | None = None  # <v_j, v_k>; given for automatic strengths


def gramian_and_alignment(
    products: Products | None,
) -> tuple[Float[Tensor, "block general general"], Float[Tensor, "block general"]]:
    """The two products that most sets work with; `drpt.geometry.finite` has checked that they are finite.

    Args:
        products: Inner products with the gramian.

    Returns:
        The gramian K and the alignments s.
    """
    assert products is not None
    assert products.gramian is not None
    return products.gramian, products.alignment


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralRows:
    """What is known of a step's general examples before any gradient."""

    base_weights: Float[Tensor, "*block general"]  # ω, at least 0, sums to 1; one for all blocks, or one a block
    example_ids: Int[Tensor, " general"]  # breaks ties, so that the order of examples does not matter
    step_index: int  # number of the step, on which random scores depend

    @property
    def num_general(self) -> int:
        """Number n of general examples."""
        return len(self.example_ids)

    def to(self, device: torch.device) -> "GeneralRows":
        """The same examples with their tensors on a device."""
        return GeneralRows(
            base_weights=self.base_weights.to(device), example_ids=self.example_ids.to(device), step_index=self.step_index
        )

    def weights(self, num_blocks: int) -> Float[Tensor, "block general"]:
        """ω in each of ``num_blocks`` blocks."""
        return self.base_weights.expand(num_blocks, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """The update of each block, ``u = Σ_i general_i g_i + target v``."""

    general: Float[Tensor, "block general"]  # c
    target: Float[Tensor, " block"]  # a
    solved: Solution | None = None  # how well they solve the set's problem, where it is solved numerically
    strength: Float[Tensor, " block"] | None = None  # λ where it was chosen automatically; NaN for a set without one
    relaxation: Float[Tensor, " block"] | None = None  # ρ where it was chosen automatically
