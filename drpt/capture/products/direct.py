"""`direct`: form the examples' gradients, a slice of the parameter at a time, and compare them as they are.

For small matrices, LoRA factors and long texts. This alone holds as many gradients as there are examples, within a budget.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.capture.gradients import FactoredGradient, accumulating
from drpt.capture.products.step_examples import StepExamples
from drpt.capture.tokens import TokenVectors

_HELD_ELEMENTS = 2**24  # of the examples' gradients held at once: 64 MiB in float32


def alignment(uses: Sequence[FactoredGradient], examples: StepExamples) -> tuple[Float[Tensor, " general"], Float[Tensor, ""]]:
    """See `drpt.capture.products.reduced.alignment`."""
    n = examples.num_general
    along, target_sq = None, None
    for grads in _slices(uses, examples, examples.num_examples):
        target_grad = grads[n:].sum(dim=0) / examples.num_target
        part, square = grads[:n] @ target_grad, target_grad.square().sum()
        along, target_sq = (part, square) if along is None or target_sq is None else (along + part, target_sq + square)
    assert along is not None
    assert target_sq is not None
    return along, target_sq


def gramian(uses: Sequence[FactoredGradient], examples: StepExamples, count: int) -> Float[Tensor, "example example"]:
    """``<g_i, g_j>`` of the first ``count`` examples."""
    products = accumulating(uses[0].right.values[:0]).new_zeros(count, count)
    for grads in _slices(uses, examples, count):
        products.addmm_(grads, grads.T)
    return products


def _slices(uses: Sequence[FactoredGradient], examples: StepExamples, count: int) -> Iterator[Float[Tensor, "example part"]]:
    """Gradients of the first ``count`` examples, some rows of the parameter at a time."""
    if examples.collectives.num_processes == 1:
        uses = _without_unused_rows(uses)
    num_left, num_right = uses[0].num_left, uses[0].right.values.shape[1]
    width = max(1, _HELD_ELEMENTS // max(1, count * num_right))
    for start in range(0, num_left, width):
        stop = min(start + width, num_left)
        total: Tensor | None = None
        for use in uses:
            segments = use.segments.part(0, count)
            part = segments.scatter(accumulating(_gradients(use, count, start, stop)), count)
            total = part if total is None else total + part
        assert total is not None
        yield examples.collectives.add_up(total.flatten(1))


def _gradients(use: FactoredGradient, count: int, start: int, stop: int) -> Float[Tensor, "segment left right"]:
    """Rows ``start`` to ``stop`` of the gradient of each segment's example."""
    segments = use.segments.part(0, count)
    num_segments, num_tokens = len(segments.lengths), segments.num_tokens
    left, right = use.left.values[:num_tokens], use.right.values[:num_tokens]
    if use.left.is_ids:
        right = accumulating(right)
        grads = right.new_zeros(num_segments * (stop - start), right.shape[1])
        is_here = (left >= start) & (left < stop)
        rows = segments.of_token(left.device)[is_here] * (stop - start) + left[is_here] - start
        return grads.index_add_(0, rows, right[is_here]).unflatten(0, (num_segments, -1))
    left, length = left[:, start:stop], segments.uniform_length
    if length is not None:
        return left.unflatten(0, (-1, length)).mT @ right.unflatten(0, (-1, length))
    one_by_one = [left[tokens].T @ right[tokens] for tokens in segments.slices()]
    return torch.stack(one_by_one) if one_by_one else left.new_zeros(0, stop - start, right.shape[1])


def _without_unused_rows(uses: Sequence[FactoredGradient]) -> Sequence[FactoredGradient]:
    """Rows of a table that no token looks up are zero in every gradient, and left out."""
    if not all(use.left.is_ids for use in uses):
        return uses
    found, places = torch.unique(torch.cat([use.left.values for use in uses]), return_inverse=True)
    parts = places.split([len(use.left.values) for use in uses])
    return [
        FactoredGradient(TokenVectors(part), use.right, use.segments, len(found)) for part, use in zip(parts, uses, strict=True)
    ]
