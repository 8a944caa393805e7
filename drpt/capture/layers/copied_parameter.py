"""Small parameters whose gradient for each example is affordable and exact: norm scales, biases, learned vectors."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


class CopiedParameter(torch.autograd.Function):
    """A parameter repeated along a new first axis, [copy, *shape]; the backward pass leaves a gradient for each copy."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        parameter: Tensor,
        num_copies: int,
        anchor: Tensor,
        record: Callable[[Tensor], None],
    ) -> Tensor:
        """Repeat without copying; the parameter is detached."""
        ctx.record = record  # type: ignore[attr-defined]  # a ctx takes any attribute; its stub does not say so
        return parameter.expand(num_copies, *parameter.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, output_grad: Tensor) -> tuple[None, None, None, None]:
        """Nothing flows on; the copies' gradients go to ``record``."""
        ctx.record(output_grad)  # type: ignore[attr-defined]
        return None, None, None, None
