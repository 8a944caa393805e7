"""A few examples whose non-negative combination matches the target gradient."""

import torch

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products, gramian_and_alignment
from drpt.geometry.quadratic_program import QuadraticProgram
from drpt.geometry.solution import Solution
from drpt.geometry.solver import solve
from drpt.geometry.subset import best_first, num_kept


class GradMatch(FeasibleSet):
    """``F = {Σ_{i∈S} c_i g_i : c ≥ 0, |S| ≤ k}``: GradMatch (Killamsetty et al. 2021), orthogonal matching pursuit.

    One example at a time joins S: the one most aligned with the rest, ``v − Σ c_j g_j``; then c is solved for again over S.
    A block stops early when no other example is aligned with the rest; k = n gives the projection onto the `cone`. Departures:
    it is applied in every step and block rather than once to the data set, and without the ridge. Ties go to the lower
    example id.

    Args:
        strength: λ = k/n in (0, 1], the share of the examples kept; `drpt.geometry.spec` checks it.
    """

    uses_target = False
    needs_products = True
    needs_gramian = True

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def most_kept(self, num_general: int) -> int:
        """k; see `FeasibleSet.most_kept`."""
        return num_kept(self.strength, num_general)

    def project(self, rows: GeneralRows, products: Products | None, scores: object, num_blocks: int) -> Coefficients:
        """See `FeasibleSet.project`."""
        gramian, alignment = gramian_and_alignment(products)
        is_in = torch.zeros_like(alignment)
        solved: Solution | None = None
        left = alignment.double()
        for _ in range(num_kept(self.strength, rows.num_general)):
            candidates = torch.where(is_in > 0, 0.0, left).clamp(min=0)
            best = best_first(candidates, rows)[:, :1]
            is_in = is_in.scatter(1, best, torch.maximum(is_in.gather(1, best), (candidates.gather(1, best) > 0).to(is_in)))
            # An example outside has no gradient here, and so no coefficient.
            inside = is_in[:, :, None] * gramian * is_in[:, None, :]
            solved = _worse(solved, solve(QuadraticProgram(gramian=inside, linear=is_in * alignment, cap=None)))
            left = alignment.double() - torch.einsum("bij,bj->bi", gramian.double(), solved.coefficients)
        assert solved is not None
        weights = rows.weights(num_blocks)
        return Coefficients(general=solved.coefficients.to(weights), target=weights.new_zeros(num_blocks), solved=solved)


def _worse(before: Solution | None, now: Solution) -> Solution:
    """The new coefficients, with the worst residual among the solves that led to them."""
    if before is None:
        return now
    return Solution.of(now.coefficients, torch.maximum(before.residual, now.residual), before.num_steps + now.num_steps)
