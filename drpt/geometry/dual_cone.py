"""Directions against no general example."""

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.hull import finite_products
from drpt.geometry.products import Coefficients, GeneralRows, Products
from drpt.geometry.quadratic_program import solve


class DualCone(FeasibleSet):
    """``F = {u : <u, g_i> ≥ 0 for all i}``: GEM (Lopez-Paz and Ranzato 2017), TorchJD's DualProj (Quinton and Rey 2024).

    By Moreau (1962) the projection is v plus the projection of −v onto the cone of the g_i: ``u = v + Σ d_i g_i``, d ≥ 0.
    """

    needs_products = True
    needs_gramian = True

    def project(self, rows: GeneralRows, products: Products | None, scores: object, num_blocks: int) -> Coefficients:
        """See `FeasibleSet.project`."""
        gramian, alignment = finite_products(products)
        solved = solve(gramian, -alignment, cap=None, sums_to_one=False)
        weights = rows.base_weights
        return Coefficients(general=solved.coefficients.to(weights), target=weights.new_ones(num_blocks), solved=solved)
