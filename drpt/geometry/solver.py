"""The solver of small quadratic programs: a few Newton steps, and bound by bound what they leave.

Most programs are done after a few Newton steps on the optimality conditions (`drpt.geometry.newton_steps`), which need not
converge. The others are solved bound by bound (`drpt.geometry.active_set`), from wherever Newton's steps have come to.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.geometry.active_set import active_set
from drpt.geometry.newton_steps import newton_steps
from drpt.geometry.quadratic_program import QuadraticProgram
from drpt.geometry.rounding import without_rounding
from drpt.geometry.solution import Solution

_NEWTON_STEPS = 8
_CHANGES = 6  # changes of bounds for each coordinate before `active_set` gives up


def solve(program: QuadraticProgram, *, tolerance: float = 1e-9) -> Solution:
    """Solve the programs in float64; products that were summed in float32 get a ridge as large as their rounding error.

    The residual says how far u can move along one gradient, or from one towards another, before that is optimal: neither a
    block's size nor the lengths of its gradients enter. It is computed from the products as given, with the ridge.

    Args:
        program: The programs, of any size; that K is positive semi-definite up to rounding is not checked.
        tolerance: Dimensionless residual that Newton's steps must reach for a program not to be solved bound by bound.

    Returns:
        The coefficients with residual and status; a block that did not converge keeps its last iterate and says so.
    """
    scaled, unit = _scaled(program)
    c, num_steps = newton_steps(scaled, most_steps=_NEWTON_STEPS)
    reached = scaled.residual(c)
    todo = (~(reached <= tolerance)).nonzero().squeeze(1)
    if len(todo):
        left = scaled.take(todo)
        size = left.size if left.sums_to_one else torch.ones_like(reached[todo])
        again, steps = active_set(left, _best_start(left, c[todo]), size, most_steps=_CHANGES * c.shape[1])
        now = left.residual(again)
        is_better = ~(reached[todo] <= now)  # true for NaN
        c[todo] = torch.where(is_better[:, None], again, c[todo])
        reached[todo] = torch.where(is_better, now, reached[todo])
        num_steps[todo] += steps
    return Solution.of(c if unit is None else unit * c, reached, num_steps)


def _scaled(program: QuadraticProgram) -> tuple[QuadraticProgram, Float[Tensor, "block general"] | None]:
    """The programs in float64 with numbers near 1, and the unit of each coordinate; None where units are unchanged."""
    exact = QuadraticProgram(gramian=without_rounding(program.gramian), linear=program.linear.double(), cap=None)
    gramian, linear, own_sq = exact.gramian, exact.linear, exact.own_sq
    if program.cap is not None:  # c has a scale of its own, so only the objective can be scaled
        scale = torch.maximum(own_sq.amax(dim=1), linear.abs().amax(dim=1))
        scale = torch.where(scale > 0, scale, 1.0)
        cap = program.cap.double()
        cap = (cap / cap.sum(dim=1, keepdim=True).clamp(max=1.0)).expand_as(linear)  # a sum below 1 is one by rounding
        return QuadraticProgram(gramian=gramian / scale[:, None, None], linear=linear / scale[:, None], cap=cap), None
    # c is inverse in the gradients' lengths, and linear in s.
    root = torch.where(own_sq > 0, own_sq, 1.0).sqrt()
    linear = torch.where(own_sq > 0, linear / root, 0.0)  # a gradient whose square vanishes does not count
    size = linear.clamp(min=0).amax(dim=1, keepdim=True)  # u is at least as long, however far other gradients point away
    size = torch.where(size > 0, size, 1.0)
    gramian = gramian / (root[:, :, None] * root[:, None, :])
    return QuadraticProgram(gramian=gramian, linear=linear / size, cap=None), size / root


def _best_start(program: QuadraticProgram, c: Tensor) -> Tensor:
    """Newton's point or the corner that the slope there points to, whichever has the smaller objective."""
    c = program.project(c)
    corner = program.steepest_corner(c)
    return torch.where((program.objective(c) <= program.objective(corner))[:, None], c, corner)
