"""The convex hull of the general gradients, with a cap on each example's weight."""

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products, gramian_and_alignment
from drpt.geometry.quadratic_program import QuadraticProgram
from drpt.geometry.solver import solve


class Hull(FeasibleSet):
    """``F = {Σ c_i g_i : Σ c = 1, 0 ≤ c_i ≤ ω_i/λ}``; the projection of v is a quadratic program in c.

    The convex relaxation of `Subset`: with uniform ω and λn whole, the corners of F are the means of k = λn examples, so F
    comes at least as near to v as any of them. λ = 1 leaves only ω (the mean); with
    uniform ω and λ = 1/n the caps have no effect.

    Args:
        strength: λ in (0, 1], which caps an example's weight at ω_i/λ; `drpt.geometry.spec` checks it.
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
        cap = (weights.double() / self.strength).clamp(max=1.0)
        solved = solve(QuadraticProgram(gramian=gramian, linear=alignment, cap=cap))
        return Coefficients(general=solved.coefficients.to(weights), target=weights.new_zeros(num_blocks), solved=solved)
