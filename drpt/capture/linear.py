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
from drpt.capture.use import accumulating, products_by_target_grad
from drpt.geometry.catalogue import ProductsMethod


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

    def target_grad(self, rows: StepRows) -> Float[Tensor, "O I"]:
        """See `Use.target_grad`."""
        return _sum_of_outer_products(self.output_grads[rows.num_general :], self.activations[rows.num_general :]) / (
            rows.num_target
        )

    def alignment(self, target_grad: Float[Tensor, "O I"], rows: StepRows) -> Float[Tensor, " general"]:
        """``Σ_t o_it · (V x_it)``: one product the size of a forward pass."""
        n = rows.num_general
        mapped = F.linear(accumulating(self.activations[:n]), target_grad)
        return (mapped * accumulating(self.output_grads[:n])).sum(dim=(1, 2))

    def products(self, rows: StepRows, method: ProductsMethod) -> tuple[Tensor, Tensor]:
        """See `Use.products`."""
        if method is ProductsMethod.AUTO:
            method = cheaper_method(self.activations, self.output_grads, rows)
        if method is ProductsMethod.REDUCED:
            return products_by_target_grad(self, rows)
        return self._pairwise(rows)

    def _pairwise(self, rows: StepRows) -> tuple[Tensor, Tensor]:
        """``Σ_{t,t'} (o_it · o_jt') (x_it · x_jt')`` averaged over the target rows j; v is never formed."""
        x, o = accumulating(self.activations), accumulating(self.output_grads)
        x_target, o_target = (t[rows.num_general :].flatten(0, 1).T for t in (x, o))
        # One target token against every token of every row, target rows included: they give <v, v>.
        per_token = ((x.flatten(0, 1) @ x_target) * (o.flatten(0, 1) @ o_target)).sum(dim=1)
        per_row = per_token.view(x.shape[:2]).sum(dim=1) / rows.num_target
        return per_row[: rows.num_general], per_row[rows.num_general :].mean()

    def update(self, row_coefficients: Float[Tensor, " batch"]) -> Float[Tensor, "O I"]:
        """``Σ r_i o_iᵀ x_i``: the layer's ordinary weight-gradient product over the rows whose r_i is not zero."""
        kept = row_coefficients.nonzero().squeeze(1)
        x, o = self.activations, self.output_grads
        if len(kept) < len(row_coefficients):
            x, o = x[kept], o[kept]
        return _sum_of_outer_products(o * row_coefficients[kept].to(o.dtype)[:, None, None], x)


def _sum_of_outer_products(o: Tensor, x: Tensor) -> Tensor:
    return o.flatten(0, 1).T @ x.flatten(0, 1)


def cheaper_method(activations: Tensor, output_grads: Tensor, rows: StepRows) -> ProductsMethod:
    """The exact method with the fewer multiplications for one layer's shape.

    With n general and m target rows of T tokens, `reduced` takes ``(n + m) T I O`` (form V, map every token),
    `pairwise` ``(n + m) T · m T · (I + O)``.

    Args:
        activations: x [batch, token, I].
        output_grads: o [batch, token, O].
        rows: Which rows are which.

    Returns:
        `REDUCED` or `PAIRWISE`.
    """
    num_inputs, num_outputs = activations.shape[-1], output_grads.shape[-1]
    target_tokens = rows.num_target * activations.shape[1]
    is_pairwise_cheaper = target_tokens * (num_inputs + num_outputs) < num_inputs * num_outputs
    return ProductsMethod.PAIRWISE if is_pairwise_cheaper else ProductsMethod.REDUCED
