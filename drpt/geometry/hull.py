"""The convex hull of the general gradients, with a cap on each example's weight."""

import torch
from torch import Tensor

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products, require_finite
from drpt.geometry.quadratic_program import solve


class Hull(FeasibleSet):
    """``F = {Σ c_i g_i : Σ c = 1, 0 ≤ c_i ≤ ω_i/λ}``; the projection of v is a quadratic program in c.

    The convex relaxation of `Subset`: with uniform ω and λn whole, the corners of F are the means of k = λn examples, so F
    comes at least as near to v as any of them. λ = 1 leaves ω alone (the mean); at λ = 1/n, uniform ω, the caps bind nothing.

    Args:
        strength: λ in (0, 1]; checked in `drpt.geometry.spec`.
    """

    uses_target = False
    needs_products = True
    needs_gramian = True

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def project(self, rows: GeneralRows, products: Products | None, scores: object, num_blocks: int) -> Coefficients:
        """See `FeasibleSet.project`."""
        gramian, alignment = finite_products(products)
        cap = rows.base_weights.double() / self.strength
        solved = solve(gramian, alignment, cap=cap.clamp(max=1.0), sums_to_one=True)
        weights = rows.base_weights
        return Coefficients(general=solved.coefficients.to(weights), target=weights.new_zeros(num_blocks), solved=solved)


def finite_products(products: Products | None) -> tuple[Tensor, Tensor]:
    """Gramian and alignments, looked at.

    Args:
        products: With a gramian.

    Returns:
        K [block, general, general] and s [block, general].

    Raises:
        NonFiniteProductsError: Some are NaN or infinite.
    """
    assert products is not None
    assert products.gramian is not None
    require_finite(torch.cat([products.gramian, products.alignment[:, None]], dim=1), "inner products")
    return products.gramian, products.alignment
