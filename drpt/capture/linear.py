"""Linear layers: row i's gradient is ``o_iᵀ x_i``, and everything needed of it comes from x and o.

Axes: batch = rows, token = positions, I = inputs, O = outputs of the layer. Per-row products are summed in float32 or
better whatever the model's dtype.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from drpt.capture.rows import StepRows
from drpt.capture.use import TokenFactors, accumulating


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
        return F.linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, output_grad: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        """The gradient of x alone; (x, o) go to ``record``."""
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        input_grad = output_grad @ weight if ctx.needs_input_grad[0] else None  # type: ignore[attr-defined]
        ctx.record(x, output_grad)  # type: ignore[attr-defined]
        return input_grad, None, None, None, None


@dataclass(frozen=True, slots=True)
class LinearUse:
    """One use of a linear layer's weight."""

    activations: Float[Tensor, "batch token I"]
    output_grads: Float[Tensor, "batch token O"]

    @property
    def factors(self) -> TokenFactors:
        """``o_t ⊗ x_t``; see `Use.factors`."""
        return TokenFactors(left=self.output_grads, right=self.activations)

    @property
    def dtype(self) -> torch.dtype:
        """See `Use.dtype`."""
        return self.output_grads.dtype

    def target_grad(self, rows: StepRows) -> Float[Tensor, "O I"]:
        """See `Use.target_grad`."""
        x, o = (accumulating(t[rows.num_general :]) for t in (self.activations, self.output_grads))
        return _add_outer_products(o, x if rows.num_target == 1 else x / rows.num_target, None)

    def alignment(self, target_grad: Float[Tensor, "O I"], rows: StepRows) -> Float[Tensor, " general"]:
        """``Σ_t o_it · (V x_it)``: one product the size of a forward pass."""
        n = rows.num_general
        mapped = F.linear(accumulating(self.activations[:n]), target_grad)
        return (mapped * accumulating(self.output_grads[:n])).sum(dim=(1, 2))

    def update(self, row_coefficients: Float[Tensor, " batch"], into: Float[Tensor, "O I"] | None) -> Float[Tensor, "O I"]:
        """``Σ r_i o_iᵀ x_i``: the layer's ordinary weight-gradient product over the rows whose r_i is not zero."""
        kept = row_coefficients.nonzero().squeeze(1)
        x, o = self.activations, self.output_grads
        scale = row_coefficients[kept].to(x.dtype)[:, None, None]
        if len(kept) < len(row_coefficients):
            x, o = x[kept], o[kept]
        # The smaller of the two operands is scaled; activations that are not a copy belong to other layers too.
        is_copy = x is not self.activations
        if x.shape[2] < o.shape[2]:
            x = x.mul_(scale) if is_copy else x * scale
        else:
            o = o.mul_(scale) if is_copy else o * scale
        return _add_outer_products(o, x, into)


def _add_outer_products(o: Tensor, x: Tensor, into: Tensor | None) -> Tensor:
    o, x = o.flatten(0, 1).T, x.flatten(0, 1)
    return o @ x if into is None else into.addmm_(o, x)
