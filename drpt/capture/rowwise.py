"""Small parameters that act elementwise (norm scales, biases): one gradient an example is affordable and exact."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


class ExpandedParameter(torch.autograd.Function):
    """A parameter [D] repeated, [row, 1, …, D] or [row, token, …, D]: broadcasting leaves a gradient a row or a token."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        parameter: Tensor,
        repeats: tuple[int, ...],
        anchor: Tensor,
        record: Callable[[Tensor], None],
    ) -> Tensor:
        """Expand without copying; the parameter is detached."""
        ctx.record = record  # type: ignore[attr-defined]  # a ctx takes any attribute; its stub does not say so
        return parameter.expand(*repeats, *parameter.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, output_grad: Tensor) -> tuple[None, None, None, None]:
        """Nothing flows on; the rows' or tokens' gradients go to ``record``."""
        ctx.record(output_grad)  # type: ignore[attr-defined]
        return None, None, None, None
