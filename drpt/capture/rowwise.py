"""Small parameters that act elementwise (norm scales, biases): one gradient a row is affordable and exact.

Axes: batch = rows, D = width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from drpt.capture.rows import StepRows
from drpt.capture.use import accumulating


class ExpandedParameter(torch.autograd.Function):
    """A parameter [D] repeated for every row, [batch, 1, …, 1, D]: what broadcasting leaves as its gradient is per row."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        parameter: Tensor,
        num_rows: int,
        num_axes: int,
        anchor: Tensor,
        record: Callable[[Tensor], None],
    ) -> Tensor:
        """Expand without copying; the parameter is detached."""
        ctx.record = record  # type: ignore[attr-defined]  # a ctx takes any attribute; its stub does not say so
        middle = (1,) * (num_axes - 1 - parameter.ndim)
        return parameter.view(1, *middle, *parameter.shape).expand(num_rows, *middle, *parameter.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, output_grad: Tensor) -> tuple[None, None, None, None, None]:
        """Nothing flows on; the rows' gradients go to ``record``."""
        ctx.record(output_grad)  # type: ignore[attr-defined]
        return None, None, None, None, None


@dataclass(frozen=True, slots=True)
class RowwiseUse:
    """One use of a small parameter: its gradient for each row."""

    row_grads: Float[Tensor, "batch *shape"]

    @property
    def factors(self) -> None:
        """None: the gradients are there; see `Use.factors`."""

    @property
    def dtype(self) -> torch.dtype:
        """See `Use.dtype`."""
        return self.row_grads.dtype

    def target_grad(self, rows: StepRows) -> Float[Tensor, "*shape"]:
        """See `Use.target_grad`."""
        return accumulating(self.row_grads[rows.num_general :]).mean(dim=0)

    def alignment(self, target_grad: Float[Tensor, "*shape"], rows: StepRows) -> Float[Tensor, " general"]:
        """``<g_i, V>``, directly."""
        return accumulating(self.row_grads[: rows.num_general]).flatten(1) @ target_grad.flatten()

    def update(
        self, row_coefficients: Float[Tensor, " batch"], into: Float[Tensor, "*shape"] | None
    ) -> Float[Tensor, "*shape"]:
        """See `Use.update`."""
        kept = row_coefficients.nonzero().squeeze(1)  # a row left out may hold anything, infinities included
        update = torch.tensordot(row_coefficients[kept].to(self.row_grads.dtype), self.row_grads[kept], dims=1)
        return update if into is None else into.add_(update)
