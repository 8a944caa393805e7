"""Embedding tables: a token's gradient is its id's unit vector ⊗ o; never expanded to one dense gradient an example."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


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
