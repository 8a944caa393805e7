"""One use of a parameter in one forward pass, and what every rule can compute from it.

Axes: batch = rows (general first, then target), token = positions of a row, I/O = a layer's inputs and outputs.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.capture.rows import StepRows
from drpt.geometry.catalogue import ProductsMethod


@runtime_checkable  # for the shape checker of the tests
class Use(Protocol):
    """What the backward pass left of one use of a parameter: enough for products and updates, never n gradients."""

    def target_grad(self, rows: StepRows) -> Float[Tensor, "..."]:
        """This use's share of ``v``: mean over target rows of the gradient, in the parameter's shape."""

    def alignment(self, target_grad: Float[Tensor, "..."], rows: StepRows) -> Float[Tensor, " general"]:
        """``<g_i, V>`` of each general row's share of the gradient with a given ``V`` in the parameter's shape."""

    def products(self, rows: StepRows, method: ProductsMethod) -> tuple[Tensor, Tensor]:
        """``(<g_i, v>) [general]`` and ``<v, v>`` when this is the parameter's only use."""

    def update(self, row_coefficients: Float[Tensor, " batch"]) -> Float[Tensor, "..."]:
        """``Σ_i r_i g_i`` over all rows, in the parameter's shape and dtype."""


def accumulating(tensor: Tensor) -> Tensor:
    """The tensor in a dtype in which dot products may be summed: float32 or better."""
    return tensor.float() if tensor.dtype in {torch.float16, torch.bfloat16} else tensor


def products_by_target_grad(use: Use, rows: StepRows) -> tuple[Tensor, Tensor]:
    """Form ``v``'s block, then its inner products: always possible, the `reduced` method.

    Args:
        use: The parameter's only use.
        rows: Which rows are which.

    Returns:
        ``(<g_i, v>) [general]`` and ``<v, v>``.
    """
    target_grad = accumulating(use.target_grad(rows))
    return use.alignment(target_grad, rows), target_grad.square().sum()
