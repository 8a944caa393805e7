"""The product of a linear layer: example i's gradient is ``o_iᵀ x_i``, and everything needed of it comes from x and o."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


class CapturedLinear(torch.autograd.Function):
    """``y = x Wᵀ + b`` whose backward hands (x, o) to ``record`` instead of forming the weight's gradient.

    ``anchor`` is any tensor that requires gradients: it keeps the node in the graph when ``x`` does not.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        anchor: Tensor,
        record: Callable[[Tensor, Tensor], None],
    ) -> Tensor:
        """``F.linear``; weight and bias are detached."""
        ctx.save_for_backward(x, weight)
        ctx.record = record  # type: ignore[attr-defined]  # a ctx takes any attribute; its stub does not say so
        # F.linear returns a view where x has more than two axes, and torch forbids changing a view that a custom function
        # returns. A model may change a linear layer's output in place.
        output = x.new_empty(*x.shape[:-1], len(weight))
        rows, flat = x.reshape(-1, x.shape[-1]), output.view(-1, len(weight))
        if bias is None:
            torch.mm(rows, weight.T, out=flat)
        else:
            torch.addmm(bias, rows, weight.T, out=flat)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, output_grad: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        """The gradient of x alone; (x, o) go to ``record``."""
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        input_grad = output_grad @ weight if ctx.needs_input_grad[0] else None  # type: ignore[attr-defined]
        ctx.record(x, output_grad)  # type: ignore[attr-defined]
        return input_grad, None, None, None, None
