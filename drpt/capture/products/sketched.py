"""`sketch`: make both factors short with fixed random matrices first; a row of numbers an example is all that is compared.

``row_i = Σ_t (left_it S) ⊗ (right_it R)``, so that ``E <row_i, row_j> = <g_i, g_j>``: unbiased alignments and gramian at
almost no cost. The very same rows serve both, and every set.
"""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.capture.gradients import FactoredGradient, accumulating
from drpt.capture.products.sketch import Sketcher


def example_sketches(
    uses: Sequence[FactoredGradient], num_examples: int, sketcher: Sketcher, name: str = ""
) -> Float[Tensor, "example sketch"]:
    """The examples' sketches, zero for those that are not here.

    Args:
        uses: Of one parameter.
        num_examples: Of the step.
        sketcher: Makes the random matrices.
        name: Sets the matrices of this parameter apart; else all of one size share theirs.

    Returns:
        Summed in float32 or better.
    """
    total: Tensor | None = None
    for use in uses:
        part = use.segments.scatter(_segment_rows(use, sketcher, name), num_examples)
        total = part if total is None else total + part
    assert total is not None
    return total


def direction(target_grad: Float[Tensor, "left right"], sketcher: Sketcher, name: str = "") -> Float[Tensor, " sketch"]:
    """The sketch ``Sᵀ V R`` of a given gradient, comparable with the examples' rows.

    Args:
        target_grad: V.
        sketcher: Makes the random matrices.
        name: See `example_sketches`.

    Returns:
        As long as a row.
    """
    num_left, num_right = target_grad.shape
    narrow = sketcher.sketch(target_grad, axis=1, size=num_right, name=name, dtype=target_grad.dtype)
    return sketcher.sketch(narrow.T, axis=0, size=num_left, name=name, dtype=target_grad.dtype).T.flatten()


def _segment_rows(use: FactoredGradient, sketcher: Sketcher, name: str) -> Float[Tensor, "segment sketch"]:
    sizes = (use.num_left, use.right.values.shape[1])
    dtype = accumulating(use.right.values[:0]).dtype
    left, right = (
        side.once(sketcher.key(axis, size, name), partial(sketcher.sketch, axis=axis, size=size, name=name, dtype=dtype))
        for axis, (side, size) in enumerate(zip((use.left, use.right), sizes, strict=True))
    )
    left, right = left.to(dtype), right.to(dtype)
    length = use.segments.uniform_length
    if length is not None:
        return (left.unflatten(0, (-1, length)).mT @ right.unflatten(0, (-1, length))).flatten(1)
    sketches = [(left[tokens].T @ right[tokens]).flatten() for tokens in use.segments.slices()]
    return torch.stack(sketches) if sketches else right.new_zeros(0, left.shape[1] * right.shape[1])
