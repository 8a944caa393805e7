"""What a projection is given (inner products) and what it returns (coefficients).

Axes: ``block`` = blocks of parameters, ``general`` = general examples of the step, ``target`` = its target examples.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from drpt.geometry.quadratic_program import Solution


class NonFiniteProductsError(ArithmeticError):
    """A score or an inner product is NaN or infinite, so that no update can be chosen."""


def require_finite(values: Tensor, name: str) -> None:
    """Refuse NaN and infinities before anything is chosen by them.

    Args:
        values: Scores or inner products.
        name: What they are.

    Raises:
        NonFiniteProductsError: Some are not finite.
    """
    if not bool(torch.isfinite(values).all()):
        raise NonFiniteProductsError(
            f"{int((~torch.isfinite(values)).sum())} of {values.numel()} {name} are NaN or infinite: the loss or a gradient "
            "has overflowed. Lower optimizer.lr, or set optimizer.clip_norm."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Inner products of per-example gradients, one row a block, in float32 or better.

    Gradients are those of each example's own loss (a token mean), unscaled; ``v`` is the mean over the target examples.
    """

    alignment: Float[Tensor, "block general"]  # <g_i, v>
    target_sq: Float[Tensor, " block"]  # <v, v>
    gramian: Float[Tensor, "block general general"] | None = None  # <g_i, g_j>; given when a set asks for it
    cross: Float[Tensor, "block general target"] | None = None  # <g_i, v_j>; given, like the next, for automatic strengths
    target_gramian: Float[Tensor, "block target target"] | None = None  # <v_j, v_k>


def finite_products(products: Products | None) -> tuple[Float[Tensor, "block general general"], Float[Tensor, "block general"]]:
    """Gramian and alignments, looked at.

    Args:
        products: With a gramian.

    Returns:
        K and s.

    Raises:
        NonFiniteProductsError: Some are NaN or infinite.
    """
    assert products is not None
    assert products.gramian is not None
    require_finite(torch.cat([products.gramian, products.alignment[:, None]], dim=1), "inner products")
    return products.gramian, products.alignment


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralRows:
    """What is known of a step's general examples before any gradient."""

    base_weights: Float[Tensor, "*block general"]  # ω, at least 0, sums to 1; one for all blocks, or one a block
    example_ids: Int[Tensor, " general"]  # breaks ties, so that the order of examples does not matter
    draw: int  # names the step in random scores: the same draw, the same numbers

    @property
    def num_general(self) -> int:
        """``n``."""
        return len(self.example_ids)

    def to(self, device: torch.device) -> "GeneralRows":
        """The same on a device."""
        return GeneralRows(base_weights=self.base_weights.to(device), example_ids=self.example_ids.to(device), draw=self.draw)

    def weights(self, num_blocks: int) -> Float[Tensor, "block general"]:
        """ω in each of ``num_blocks`` blocks."""
        return self.base_weights.expand(num_blocks, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """The update of each block, ``u = Σ_i general_i g_i + target v``."""

    general: Float[Tensor, "block general"]  # c
    target: Float[Tensor, " block"]  # a
    solved: Solution | None = None  # how well, where they come from an iteration
    strength: Float[Tensor, " block"] | None = None  # what was chosen automatically: λ, NaN where there is none,
    relaxation: Float[Tensor, " block"] | None = None  # and ρ
