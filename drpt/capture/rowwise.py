"""Small parameters that act elementwise (norm scales, biases): one gradient an example is affordable and exact."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


class ExpandedParameter(torch.autograd.Function):
    """A parameter [D] repeated, [row, 1, …, 1, D] or [row, token, 1, …, D]: broadcasting leaves a gradient a row or token."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        parameter: Tensor,
        leading: tuple[int, ...],
        num_axes: int,
        anchor: Tensor,
        record: Callable[[Tensor], None],
    ) -> Tensor:
        """Expand without copying; the parameter is detached."""
        ctx.record = record  # type: ignore[attr-defined]  # a ctx takes any attribute; its stub does not say so
        middle = (1,) * (num_axes - len(leading) - parameter.ndim)
        return parameter.view(*(1,) * len(leading), *middle, *parameter.shape).expand(*leading, *middle, *parameter.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, output_grad: Tensor) -> tuple[None, None, None, None, None]:
        """Nothing flows on; the rows' or tokens' gradients go to ``record``."""
        ctx.record(output_grad)  # type: ignore[attr-defined]
        return None, None, None, None, None
