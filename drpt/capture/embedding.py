"""Embedding tables: gathered from, never expanded to one dense gradient a row.

Axes: batch = rows, token = positions, V = vocabulary, D = width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from drpt.capture.rows import StepRows
from drpt.capture.use import TokenFactors, accumulating


class CapturedEmbedding(torch.autograd.Function):
    """``y = W[ids]`` whose backward hands (ids, o) to ``record`` instead of forming a gradient of W."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        token_ids: Tensor,
        weight: Tensor,
        anchor: Tensor,
        record: Callable[[Tensor, Tensor], None],
    ) -> Tensor:
        """``F.embedding``; the weight is detached."""
        ctx.save_for_backward(token_ids)
        ctx.record = record  # type: ignore[attr-defined]  # a ctx takes any attribute; its stub does not say so
        return F.embedding(token_ids, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, output_grad: Tensor) -> tuple[None, None, None, None]:
        """Nothing flows on; (ids, o) go to ``record``."""
        (token_ids,) = ctx.saved_tensors  # type: ignore[attr-defined]
        ctx.record(token_ids, output_grad)  # type: ignore[attr-defined]
        return None, None, None, None


@dataclass(frozen=True, slots=True)
class EmbeddingUse:
    """One look-up in an embedding table."""

    token_ids: Int[Tensor, "batch token"]
    output_grads: Float[Tensor, "batch token D"]  # zero where the id is the table's padding_idx
    num_embeddings: int

    @property
    def factors(self) -> TokenFactors:
        """A unit vector for the id ⊗ o; see `Use.factors`."""
        return TokenFactors(left=self.token_ids, right=self.output_grads)

    @property
    def dtype(self) -> torch.dtype:
        """See `Use.dtype`."""
        return self.output_grads.dtype

    def target_grad(self, rows: StepRows) -> Float[Tensor, "V D"]:
        """See `Use.target_grad`."""
        n = rows.num_general
        return self._scatter(self.token_ids[n:], accumulating(self.output_grads[n:]) / rows.num_target, None)

    def alignment(self, target_grad: Float[Tensor, "V D"], rows: StepRows) -> Float[Tensor, " general"]:
        """``Σ_t o_it · V[id_it]``."""
        n = rows.num_general
        gathered = F.embedding(self.token_ids[:n], target_grad)
        return (gathered * accumulating(self.output_grads[:n])).sum(dim=(1, 2))

    def update(self, row_coefficients: Float[Tensor, " batch"], into: Float[Tensor, "V D"] | None) -> Float[Tensor, "V D"]:
        """See `Use.update`."""
        kept = row_coefficients.nonzero().squeeze(1)
        scaled = self.output_grads[kept] * row_coefficients[kept].to(self.output_grads.dtype)[:, None, None]
        return self._scatter(self.token_ids[kept], scaled, into)

    def _scatter(self, token_ids: Tensor, output_grads: Tensor, into: Tensor | None) -> Tensor:
        table = output_grads.new_zeros(self.num_embeddings, output_grads.shape[-1]) if into is None else into
        return table.index_add_(0, token_ids.flatten(), output_grads.flatten(0, -2))
