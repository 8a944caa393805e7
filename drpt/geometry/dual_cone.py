"""Directions that go against no general example."""

import torch

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products, gramian_and_alignment
from drpt.geometry.quadratic_program import QuadraticProgram
from drpt.geometry.solver import solve


class DualCone(FeasibleSet):
    """``F = {u : <u, g_i> ≥ 0 for all i}``: GEM (Lopez-Paz and Ranzato 2017), TorchJD's DualProj (Quinton and Rey 2024).

    By Moreau (1962) the projection is v plus the projection of −v onto the cone of the g_i: ``u = v + Σ d_i g_i``, d ≥ 0.

    The margin is GEM's lower bound on the multipliers, ``d_i ≥ λ ω_i``: u goes at least λ ḡ beyond v, and further where
    that is not enough. Departure: GEM's bound is not weighted; with ours an example given twice with half its weight changes
    nothing. d has no unit, so scaling the gradients scales u.

    Args:
        strength: λ ≥ 0, the margin; `drpt.geometry.spec` checks it.
    """

    needs_products = True
    needs_gramian = True

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def project(self, rows: GeneralRows, products: Products | None, scores: object, num_blocks: int) -> Coefficients:
        """See `FeasibleSet.project`."""
        gramian, alignment = gramian_and_alignment(products)
        weights = rows.weights(num_blocks)
        least = self.strength * weights.double()
        linear = -alignment.double() - torch.einsum("bij,bj->bi", gramian.double(), least)
        solved = solve(QuadraticProgram(gramian=gramian, linear=linear, cap=None))
        general = (solved.coefficients + least).to(weights)
        return Coefficients(general=general, target=weights.new_ones(num_blocks), solved=solved)
