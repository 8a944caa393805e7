"""Inner products of a parameter's per-row gradients, exactly, from its uses.

Two ways, equal to rounding: `reduced` forms v's block and maps every token through it; `pairwise` compares every token with
every target token and never forms v. Axes: token = tokens of some rows, one after another.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from drpt.capture.rows import StepRows
from drpt.capture.rowwise import RowwiseUse
from drpt.capture.use import TokenFactors, Use, accumulating
from drpt.geometry.catalogue import ProductsMethod

_SLICE_ELEMENTS = 2**24  # of the rows' gradients held at once: 64 MiB in float32


def parameter_products(
    uses: Sequence[Use], rows: StepRows, method: ProductsMethod
) -> tuple[Float[Tensor, " general"], Float[Tensor, ""]]:
    """Alignments with the target gradient, and its square.

    A parameter that is tied or used again has the sum over its uses as its gradient; cross terms are included.

    Args:
        uses: All uses of one parameter in the step.
        rows: Which rows are which.
        method: How; a parameter whose gradient a row is small takes its own way.

    Returns:
        ``<g_i, v>`` [general] and ``<v, v>``, in float32 or better.
    """
    factors = [use.factors for use in uses]
    outer = [factor for factor in factors if factor is not None]
    if len(outer) == len(factors):
        if method is ProductsMethod.AUTO:
            method = cheaper_method(outer, rows)
        if method is ProductsMethod.PAIRWISE:
            return _pairwise(outer, rows)
    return _reduced(uses, rows)


def _reduced(uses: Sequence[Use], rows: StepRows) -> tuple[Tensor, Tensor]:
    target_grad = uses[0].target_grad(rows)
    for use in uses[1:]:
        target_grad = target_grad + use.target_grad(rows)
    alignment = uses[0].alignment(target_grad, rows)
    for use in uses[1:]:
        alignment = alignment + use.alignment(target_grad, rows)
    return alignment, target_grad.square().sum()


def _pairwise(factors: Sequence[TokenFactors], rows: StepRows) -> tuple[Tensor, Tensor]:
    """``Σ_{t,t'} (left_it · left_jt') (right_it · right_jt')``, averaged over the target rows j."""
    n, m = rows.num_general, rows.num_target
    per_row = []
    for a in factors:
        num_tokens = a.right.shape[1]
        right = accumulating(a.right).flatten(0, 1)
        for b in factors:
            # Target rows against themselves give <v, v>.
            right_products = right @ accumulating(b.right[n:]).flatten(0, 1).T
            per_token = (_inner(a.left.flatten(0, 1), b.left[n:].flatten(0, 1)) * right_products).sum(dim=1)
            per_row.append(per_token.view(n + m, num_tokens).sum(dim=1))
    total = per_row[0] if len(per_row) == 1 else torch.stack(per_row).sum(dim=0)
    total = total / m
    return total[:n], total[n:].mean()


def _inner(
    a: Float[Tensor, "token_a left"] | Int[Tensor, " token_a"], b: Float[Tensor, "token_b left"] | Int[Tensor, " token_b"]
) -> Tensor:
    """Inner products of left factors [token_a, token_b]; integers are unit vectors."""
    if a.ndim == 1 and b.ndim == 1:
        return a[:, None] == b[None, :]
    if a.ndim == 1:
        return accumulating(b[:, a]).T
    if b.ndim == 1:
        return accumulating(a[:, b])
    return accumulating(a) @ accumulating(b).T


def cheaper_method(factors: Sequence[TokenFactors], rows: StepRows) -> ProductsMethod:
    """The exact method with the fewer multiplications for one parameter's shape.

    With n general and m target rows of T tokens and a weight of L × R, one dense use takes ``(n + m) T L R`` when `reduced`
    (form V, map every token) and ``(n + m) T · m T · (L + R)`` when `pairwise`; unit vectors on the left cost nothing there,
    and only the adding of rows of V when reduced.

    Args:
        factors: Of all uses.
        rows: Which rows are which.

    Returns:
        `REDUCED` or `PAIRWISE`.
    """
    reduced = pairwise = 0
    for a in factors:
        num_tokens, right = rows.num_rows * a.right.shape[1], a.right.shape[2]
        left = a.left.shape[2] if a.left.ndim == 3 else 0
        reduced += num_tokens * max(left, 1) * right
        for b in factors:
            is_dense = a.left.ndim == 3 and b.left.ndim == 3
            pairwise += num_tokens * rows.num_target * b.right.shape[1] * (right + (left if is_dense else 0))
    return ProductsMethod.PAIRWISE if pairwise < reduced else ProductsMethod.REDUCED


def parameter_gramian(uses: Sequence[Use], num_rows: int, method: ProductsMethod) -> Float[Tensor, "row row"]:
    """Inner products ``<g_i, g_j>`` of the first rows' gradients of one parameter.

    `pairwise` compares every token with every other; else each row's gradient is formed, a slice of the parameter at a time,
    whichever takes fewer multiplications unless ``method`` asks for `pairwise`.

    Args:
        uses: All uses of one parameter in the step.
        num_rows: The general rows alone, or all rows of the batch.
        method: How; see above.

    Returns:
        Symmetric, in float32 or better.
    """
    n = num_rows
    factors = [use.factors for use in uses]
    outer = [TokenFactors(left=factor.left[:n], right=factor.right[:n]) for factor in factors if factor is not None]
    if not outer:
        rowwise = [accumulating(use.row_grads[:n]) for use in uses if isinstance(use, RowwiseUse)]
        flat = sum(rowwise[1:], rowwise[0]).flatten(1)
        return flat @ flat.T
    is_direct_possible = all(factor.left.ndim == 3 for factor in outer)
    if method is ProductsMethod.PAIRWISE or not is_direct_possible or _is_pairwise_gramian_cheaper(outer):
        return _pairwise_gramian(outer)
    return _direct_gramian(outer)


def _pairwise_gramian(factors: Sequence[TokenFactors]) -> Tensor:
    total: Tensor | None = None
    for a in factors:
        for b in factors:
            rights = accumulating(a.right).flatten(0, 1) @ accumulating(b.right).flatten(0, 1).T
            products = _inner(a.left.flatten(0, 1), b.left.flatten(0, 1)) * rights
            n, num_a, num_b = a.right.shape[0], a.right.shape[1], b.right.shape[1]
            summed = products.view(n, num_a, n, num_b).sum(dim=(1, 3))
            total = summed if total is None else total + summed
    assert total is not None
    return total


def _direct_gramian(factors: Sequence[TokenFactors]) -> Tensor:
    n, num_left, num_right = factors[0].left.shape[0], factors[0].left.shape[2], factors[0].right.shape[2]
    width = max(1, _SLICE_ELEMENTS // (n * num_right))
    total = torch.zeros(n, n, dtype=accumulating(factors[0].right).dtype, device=factors[0].right.device)
    for start in range(0, num_left, width):
        slices = [accumulating(f.left[:, :, start : start + width]).mT @ accumulating(f.right) for f in factors]
        flat = sum(slices[1:], slices[0]).flatten(1)
        total.addmm_(flat, flat.T)
    return total


def _is_pairwise_gramian_cheaper(factors: Sequence[TokenFactors]) -> bool:
    n, left, right = factors[0].left.shape[0], factors[0].left.shape[2], factors[0].right.shape[2]
    num_tokens = sum(n * factor.right.shape[1] for factor in factors)
    return num_tokens**2 * (left + right) < (num_tokens + n * n) * left * right
