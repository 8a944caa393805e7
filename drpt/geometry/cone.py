"""The cone of the general gradients."""

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products, gramian_and_alignment
from drpt.geometry.quadratic_program import QuadraticProgram
from drpt.geometry.ridge import ridged
from drpt.geometry.solver import solve


class Cone(FeasibleSet):
    """``F = {Σ c_i g_i : c ≥ 0}``: non-negative least squares on the gramian, with an optional ridge.

    Minimises ``‖v − Σ c_i g_i‖² + λ σ Σ c_i²/ω_i`` over c ≥ 0, ``σ = Σ ω_i ‖g_i‖²``. The ridge is relative to the gradients'
    size and weighted, as in `Span`: scaling the gradients scales u, and an example given twice with half its weight changes
    nothing. With λ > 0, examples of weight 0 get no coefficient.

    Args:
        strength: λ ≥ 0, the ridge; `drpt.geometry.spec` checks it.
    """

    uses_target = False
    needs_products = True
    needs_gramian = True

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def project(self, rows: GeneralRows, products: Products | None, scores: object, num_blocks: int) -> Coefficients:
        """See `FeasibleSet.project`."""
        gramian, alignment = gramian_and_alignment(products)
        weights = rows.weights(num_blocks)
        if self.strength > 0:
            gramian, alignment = ridged(gramian, alignment, weights, self.strength)
        solved = solve(QuadraticProgram(gramian=gramian, linear=alignment, cap=None))
        return Coefficients(general=solved.coefficients.to(weights), target=weights.new_zeros(num_blocks), solved=solved)
