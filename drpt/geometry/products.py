"""What a projection is given (inner products) and what it returns (coefficients).

Axes: ``block`` = blocks of parameters, ``general`` = general examples of the step.
"""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


class NonFiniteProductsError(ArithmeticError):
    """A score or an inner product is NaN or infinite, so that no update can be chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Inner products of per-example gradients, one row a block, in float32 or better.

    Gradients are those of each example's own loss (a token mean), unscaled; ``v`` is the mean over the target examples.
    """

    alignment: Float[Tensor, "block general"]  # <g_i, v>
    target_sq: Float[Tensor, " block"]  # <v, v>


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralRows:
    """What is known of a step's general examples before any gradient."""

    base_weights: Float[Tensor, " general"]  # ω, at least 0, sums to 1
    example_ids: Int[Tensor, " general"]  # breaks ties, so that the order of examples does not matter
    draw: int  # names the step in random scores: the same draw, the same numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """The update of each block, ``u = Σ_i general_i g_i + target v``."""

    general: Float[Tensor, "block general"]  # c
    target: Float[Tensor, " block"]  # a
