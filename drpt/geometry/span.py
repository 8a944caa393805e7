"""The subspace of the general gradients, with a ridge."""

import torch
from torch import Tensor

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products, gramian_and_alignment
from drpt.geometry.residuals import lengths, span_residual
from drpt.geometry.ridge import ridged
from drpt.geometry.rounding import without_rounding
from drpt.geometry.solution import Solution

_RIDGE = 2.0**-50  # times the number of examples, of each diagonal entry: the rounding error of float64
_REPEATS = 2  # further solves, each for the error that the ridge left in the one before


class Span(FeasibleSet):
    """``F = {Σ c_i g_i}``, with a ridge: minimise ``‖v − Σ c_i g_i‖² + λ σ Σ c_i²/ω_i``, ``σ = Σ ω_i ‖g_i‖²``.

    λ = 0 projects onto the subspace; as λ grows, u shrinks towards a multiple of ``Σ ω_i s_i g_i``. The ridge is relative to
    the gradients' size, so scaling them scales u, and weighted, so that an example given twice with half its weight changes
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
        solved = _combination(gramian, alignment)
        return Coefficients(general=solved.coefficients.to(weights), target=weights.new_zeros(num_blocks), solved=solved)


def _combination(gramian: Tensor, alignment: Tensor) -> Solution:
    """Coefficients of the projection onto the subspace, almost the shortest ones, from gradients scaled to length 1."""
    gramian, alignment = without_rounding(gramian), alignment.double()
    length = lengths(gramian)
    has_length = length > 0
    unit = torch.where(has_length, 1.0 / torch.where(has_length, length, 1.0), 0.0)
    matrix, right = unit[:, :, None] * gramian * unit[:, None, :], unit * alignment
    size = right.abs().amax(dim=1, keepdim=True)
    size = torch.where(size > 0, size, 1.0)
    right = right / size
    system = matrix.clone()
    system.diagonal(dim1=1, dim2=2).add_(_RIDGE * matrix.shape[1] + (~has_length).double())
    factors, pivots, _ = torch.linalg.lu_factor_ex(system)
    found = torch.zeros_like(right)
    for _ in range(1 + _REPEATS):
        left = right - torch.bmm(matrix, found[:, :, None]).squeeze(2)
        found = found + torch.linalg.lu_solve(factors, pivots, left[:, :, None]).squeeze(2)
    num_steps = torch.full((len(found),), 1 + _REPEATS, dtype=torch.long, device=found.device)
    return Solution.of(size * unit * found, span_residual(matrix, right, found), num_steps)
