"""One use of a parameter in one forward pass, and what every rule can compute from it.

Axes: batch = rows (general first, then target), token = positions of a row.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from drpt.capture.rows import StepRows


@dataclass(frozen=True, slots=True)
class TokenFactors:
    """A row's gradient as a sum over its tokens of outer products, ``Σ_t left_t ⊗ right_t``, in the parameter's shape.

    ``left`` may be integers: each stands for the unit vector with its one at that place, as the token ids of an embedding do.
    """

    left: Float[Tensor, "batch token left"] | Int[Tensor, "batch token"]
    right: Float[Tensor, "batch token right"]


@runtime_checkable  # for the shape checker of the tests
class Use(Protocol):
    """What the backward pass left of one use of a parameter: enough for products and updates, never n gradients."""

    @property
    def factors(self) -> TokenFactors | None:
        """The gradients as outer products, or None where a gradient a row is small enough to be there."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the updates: what activations and output gradients were computed in."""

    def target_grad(self, rows: StepRows) -> Float[Tensor, "..."]:
        """This use's share of ``v``: mean over target rows of the gradient, in the parameter's shape, in float32 or better."""

    def alignment(self, target_grad: Float[Tensor, "..."], rows: StepRows) -> Float[Tensor, " general"]:
        """``<g_i, V>`` of each general row's share of the gradient with a given ``V`` in the parameter's shape."""

    def update(self, row_coefficients: Float[Tensor, " batch"], into: Float[Tensor, "..."] | None) -> Float[Tensor, "..."]:
        """``Σ_i r_i g_i`` over all rows, added to ``into`` in place, or new where that is None."""


def accumulating(tensor: Tensor) -> Tensor:
    """The tensor in a dtype in which dot products may be summed: float32 or better."""
    return tensor.float() if tensor.dtype in {torch.float16, torch.bfloat16} else tensor
