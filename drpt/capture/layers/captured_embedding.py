"""Embedding tables: a token's gradient is its id's unit vector ⊗ o; never expanded to one dense gradient an example."""

from collections.abc import Callable

import torch
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
        # Not the view that F.embedding may return: see `CapturedLinear`.
        output = weight.new_empty(*token_ids.shape, weight.shape[1])
        torch.index_select(weight, 0, token_ids.reshape(-1), out=output.view(-1, weight.shape[1]))
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, output_grad: Tensor) -> tuple[None, None, None, None]:
        """Nothing flows on; (ids, o) go to ``record``."""
        (token_ids,) = ctx.saved_tensors  # type: ignore[attr-defined]
        ctx.record(token_ids, output_grad)  # type: ignore[attr-defined]
        return None, None, None, None
