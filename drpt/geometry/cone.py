"""The cone of the general gradients."""

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.hull import finite_products
from drpt.geometry.products import Coefficients, GeneralRows, Products
from drpt.geometry.quadratic_program import solve


class Cone(FeasibleSet):
    """``F = {Σ c_i g_i : c ≥ 0}``: non-negative least squares on the gramian."""

    uses_target = False
    needs_products = True
    needs_gramian = True

    def project(self, rows: GeneralRows, products: Products | None, scores: object, num_blocks: int) -> Coefficients:
        """See `FeasibleSet.project`."""
        gramian, alignment = finite_products(products)
        solved = solve(gramian, alignment, cap=None, sums_to_one=False)
        weights = rows.base_weights
        return Coefficients(general=solved.coefficients.to(weights), target=weights.new_zeros(num_blocks), solved=solved)
