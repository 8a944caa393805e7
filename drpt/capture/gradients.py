"""What the backward pass leaves of one use of a parameter: enough for products and updates, never n gradients.

Axes: token = tokens of the examples, one example after another; left, right = the two axes of a matrix.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.capture.segments import Segments
from drpt.capture.tokens import TokenVectors


@dataclass(frozen=True, slots=True)
class FactoredGradient:
    """A matrix whose gradient is ``Σ_t left_t ⊗ right_t``, in the parameter's shape [left, right].

    A linear layer's weight has output gradients on the left and activations on the right, GPT-2's convolution the other way
    round, and an embedding table token ids on the left, which stand for unit vectors.
    """

    left: TokenVectors
    right: TokenVectors
    segments: Segments
    num_left: int  # size of the left axis
    place: int | None = None  # of the matrix in a parameter [place, left, right], such as the weights of several experts
    num_places: int = 1

    @property
    def dtype(self) -> torch.dtype:
        """Of the updates: what activations and output gradients were computed in."""
        return self.right.values.dtype

    @property
    def device(self) -> torch.device:
        """Where the tokens are."""
        return self.right.values.device

    @property
    def num_bytes(self) -> int:
        """Kept alive by this use."""
        return sum(side.values.numel() * side.values.element_size() for side in (self.left, self.right))

    def without_tokens(self, place: int | None) -> "FactoredGradient":
        """A use of another matrix of the same parameter, by no token."""
        left, right = TokenVectors(self.left.values[:0]), TokenVectors(self.right.values[:0])
        return FactoredGradient(left, right, Segments((), ()), self.num_left, place, self.num_places)

    def gradient(self, tokens: slice) -> Float[Tensor, "left right"]:
        """Sum over some tokens: a product rounded once to the factors' own dtype; of ids in float32 or better."""
        left, right = self.left.values[tokens], self.right.values[tokens]
        if self.left.is_ids:
            right = accumulating(right)
            return right.new_zeros(self.num_left, right.shape[1]).index_add_(0, left, right)
        return left.T @ right

    def update(self, coefficients: Sequence[float], into: Tensor | None) -> Float[Tensor, "left right"]:
        """``Σ_i c_i g_i``: the ordinary weight-gradient product over the tokens of examples whose c_i is not zero.

        Args:
            coefficients: One a segment.
            into: Added to in place, where given.

        Returns:
            ``into``, or a new matrix.
        """
        kept = [i for i, coefficient in enumerate(coefficients) if coefficient != 0.0]
        left, right = self.left.values, self.right.values
        segments = self.segments
        is_copy = len(kept) < len(coefficients)
        if is_copy:
            left, right = (_take(values, segments, kept) for values in (left, right))
            segments = segments.pick(kept)
        # The smaller of the two factors is scaled; values that are not a copy belong to other layers too.
        is_left = not self.left.is_ids and left.shape[1] <= right.shape[1]
        scaled = _scale(left if is_left else right, [coefficients[i] for i in kept], segments, in_place=is_copy)
        left, right = (scaled, right) if is_left else (left, scaled)
        if self.left.is_ids:
            table = right.new_zeros(self.num_left, right.shape[1]) if into is None else into
            return _add_rows(table, left, right)
        return left.T @ right if into is None else into.addmm_(left.T, right)


@dataclass(frozen=True, slots=True)
class PerExampleGradient:
    """A small parameter (norm scale, bias): its gradient for each example is affordable, and exact."""

    grads: Float[Tensor, "example ..."]  # summed in float32 or better
    segments: Segments  # lengths do not matter

    @property
    def dtype(self) -> torch.dtype:
        """See `FactoredGradient.dtype`."""
        return self.grads.dtype

    @property
    def device(self) -> torch.device:
        """See `FactoredGradient.device`."""
        return self.grads.device

    @property
    def num_bytes(self) -> int:
        """See `FactoredGradient.num_bytes`."""
        return self.grads.numel() * self.grads.element_size()

    def update(self, coefficients: Sequence[float], into: Tensor | None) -> Float[Tensor, "..."]:
        """See `FactoredGradient.update`."""
        kept = [i for i, coefficient in enumerate(coefficients) if coefficient != 0.0]
        weights = self.grads.new_tensor([coefficients[i] for i in kept])
        grads = self.grads if len(kept) == len(coefficients) else self.grads[kept]  # one left out may hold infinities
        update = torch.tensordot(weights, grads, dims=1)
        return update if into is None else into.add_(update)


_HALVES = {torch.float16, torch.bfloat16}

UseGradient: TypeAlias = FactoredGradient | PerExampleGradient


def accumulating(tensor: Tensor) -> Tensor:
    """The tensor in a dtype in which products may be summed: float32 or better."""
    return tensor.float() if tensor.dtype in _HALVES else tensor


def accumulated_product(a: Float[Tensor, "row inner"], b: Float[Tensor, "inner column"]) -> Float[Tensor, "row column"]:
    """``a b``, summed and left in float32 or better: where the terms of later sums cancel, a rounded product is noise.

    Args:
        a: In any floating dtype.
        b: Likewise, of that or another.

    Returns:
        The product.
    """
    if a.is_cuda and a.dtype == b.dtype and a.dtype in _HALVES:
        return torch.mm(a, b, out_dtype=torch.float32)  # no copy of the factors, and at their speed
    return accumulating(a) @ accumulating(b)


def _add_rows(table: Tensor, ids: Tensor, rows: Tensor) -> Tensor:
    """Add rows to those of the table that ``ids`` name."""
    if rows.dtype in _HALVES:
        # What a token that comes often adds up to is rounded once: in bfloat16 a sum of equal terms stops growing at 256.
        ids, places = torch.unique(ids, return_inverse=True)
        rows = accumulating(rows)
        rows = rows.new_zeros(len(ids), rows.shape[1]).index_add_(0, places, rows).to(table.dtype)
    return table.index_add_(0, ids, rows)


def _take(values: Tensor, segments: Segments, kept: Sequence[int]) -> Tensor:
    length = segments.uniform_length
    if length is not None:
        places = torch.tensor(kept, dtype=torch.long, device=values.device)
        return values.unflatten(0, (-1, length)).index_select(0, places).flatten(0, 1)
    slices = segments.slices()
    parts = [values[slices[i]] for i in kept]
    return torch.cat(parts) if parts else values.new_empty(0, *values.shape[1:])  # a copy in any case: it is scaled in place


def _scale(values: Tensor, coefficients: Sequence[float], segments: Segments, *, in_place: bool) -> Tensor:
    # The coefficients themselves are not rounded to bfloat16: their error would be that of all tokens, and not average out.
    scale = accumulating(values[:0]).new_tensor(coefficients)
    length = segments.uniform_length
    if length is None:
        shaped, scale = values, scale[segments.of_token(values.device)][:, None]
    else:
        shaped, scale = values.unflatten(0, (-1, length)), scale[:, None, None]
    scaled = shaped.mul_(scale) if in_place else torch.mul(shaped, scale, out=torch.empty_like(shaped))
    return scaled if length is None else scaled.flatten(0, 1)
