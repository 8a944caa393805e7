"""Near the target gradient, the direction whose worst general example gains most."""

import torch
from torch import Tensor

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products, finite_products, require_finite
from drpt.geometry.quadratic_program import Solution, kkt_residual, solve, without_rounding

_STEPS = 60
_SHORTEST = 1e-7  # of the largest gradient: a shorter mixture has no direction
_TOLERANCE = 1e-6  # of the residual; the quadratic programs inside are solved to 1e-9


class CAGrad(FeasibleSet):
    """CAGrad (Liu et al. 2021) around the target gradient: ``argmax_u min_i <u, g_i>  subject to  ‖u − v‖ ≤ λ ‖v‖``.

    By duality ``u = v + λ‖v‖ g_w/‖g_w‖``, ``g_w = Σ w_i g_i``, where w on the simplex minimises
    ``<g_w, v> + λ‖v‖ ‖g_w‖``. For a fixed length ρ the minimiser of ``<g_w, v> + λ‖v‖ (‖g_w‖²/ρ + ρ)/2`` is a quadratic
    program, and the ρ that equals its own ``‖g_w‖`` is found between two brackets. Where g_w vanishes, the best worst case
    is ``<u, g_i> ≥ 0`` with equality for some i, and of the directions that reach it the one closest to v is taken: the
    projection onto the `dual_cone`. Departure: CAGrad's centre is the mean of all tasks; here it is the target.

    Args:
        strength: λ in [0, 1]; checked in `drpt.geometry.spec`.
    """

    needs_products = True
    needs_gramian = True

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def project(self, rows: GeneralRows, products: Products | None, scores: object, num_blocks: int) -> Coefficients:
        """See `FeasibleSet.project`."""
        rough, rough_alignment = finite_products(products)
        assert products is not None
        require_finite(products.target_sq, "inner products")
        gramian, alignment = without_rounding(rough), rough_alignment.double()
        radius = self.strength * products.target_sq.double().clamp(min=0).sqrt()
        solved, length = _worst_mixture(gramian, alignment, radius)
        share = torch.where(length > 0, radius / torch.where(length > 0, length, 1.0), 0.0)
        general = share[:, None] * solved.coefficients
        has_no_length = (length == 0) & (radius > 0)
        if bool(has_no_length.any()):
            nearest = solve(gramian, -alignment, cap=None, sums_to_one=False)
            general = torch.where(has_no_length[:, None], nearest.coefficients, general)
            solved = _choose(has_no_length, nearest, solved)
        weights = rows.weights(num_blocks)
        return Coefficients(general=general.to(weights), target=weights.new_ones(num_blocks), solved=solved)


def _worst_mixture(gramian: Tensor, alignment: Tensor, radius: Tensor) -> tuple[Solution, Tensor]:
    """The w minimising ``<g_w, v> + radius ‖g_w‖`` over the simplex, and ``‖g_w‖`` (0 where it has no direction).

    ``‖g_w(ρ)‖ − ρ`` changes sign once in ρ; false position with halved ends (Illinois) closes in on it.

    Args:
        gramian: K.
        alignment: s.
        radius: Of the ball around v.

    Returns:
        The mixture, and its length.
    """
    cap = torch.ones_like(alignment[:1])
    size = torch.diagonal(gramian, dim1=1, dim2=2).amax(dim=1).clamp(min=0).sqrt()
    pull = torch.where(radius > 0, 1.0 / torch.where(radius > 0, radius, 1.0), 0.0)

    def mixture(length: Tensor) -> tuple[Solution, Tensor]:
        found = solve(gramian, -(length * pull)[:, None] * alignment, cap=cap, sums_to_one=True)
        square = torch.einsum("bi,bij,bj->b", found.coefficients, gramian, found.coefficients)
        return found, square.clamp(min=0).sqrt()

    low, high = _SHORTEST * size, size
    best, low_length = mixture(low)
    at_high, high_length = mixture(high)
    low_value, high_value = low_length - low, high_length - high
    length = torch.where(high_value >= 0, high, low)
    best = _choose(high_value >= 0, at_high, best)
    has_no_length = low_value <= 0
    todo = (high_value < 0) & ~has_no_length
    moved = torch.zeros_like(size)  # which end moved last: 1 the lower, -1 the upper
    for _ in range(_STEPS):
        if not bool(todo.any()):
            break
        middle = (low * high_value - high * low_value) / torch.where(todo, high_value - low_value, 1.0)
        middle = torch.where(todo, middle, length)
        found, found_length = mixture(middle)
        value = found_length - middle
        is_above = value > 0  # the crossing lies beyond
        # An end that stays twice counts half, so that both move.
        high_value = torch.where(is_above, torch.where(moved > 0, high_value / 2, high_value), value)
        low_value = torch.where(is_above, value, torch.where(moved < 0, low_value / 2, low_value))
        low, high = torch.where(is_above, middle, low), torch.where(is_above, high, middle)
        moved = torch.where(is_above, 1.0, -1.0)
        best, length = _choose(todo, found, best), torch.where(todo, middle, length)
        todo = todo & (value.abs() > 1e-13 * size)
    length = torch.where(has_no_length, 0.0, length)
    return _with_own_residual(gramian, alignment, radius, best, length), length


def _with_own_residual(gramian: Tensor, alignment: Tensor, radius: Tensor, found: Solution, length: Tensor) -> Solution:
    """How far w is from the conditions of the problem itself; where g_w vanishes or radius does, nothing depends on w."""
    share = torch.where(length > 0, radius / torch.where(length > 0, length, 1.0), 0.0)
    K, s = share[:, None, None] * gramian, -alignment
    scale = torch.maximum(torch.diagonal(K, dim1=1, dim2=2).amax(dim=1), s.abs().amax(dim=1))
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    cap = torch.ones_like(s)
    residual = kkt_residual(K / scale[:, None, None], s / scale[:, None], found.coefficients, cap=cap, sums_to_one=True)
    residual = torch.where(share > 0, residual, 0.0)
    return Solution(
        coefficients=found.coefficients,
        residual=residual,
        num_steps=found.num_steps,
        is_converged=found.is_converged & (residual <= _TOLERANCE),
    )


def _choose(condition: Tensor, first: Solution, second: Solution) -> Solution:
    return Solution(
        coefficients=torch.where(condition[:, None], first.coefficients, second.coefficients),
        residual=torch.where(condition, first.residual, second.residual),
        num_steps=first.num_steps + second.num_steps,
        is_converged=torch.where(condition, first.is_converged, second.is_converged),
    )
