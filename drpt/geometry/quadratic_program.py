"""Small convex quadratic programs, many at once: what projections onto cones and hulls come down to.

    minimise  ½ cᵀ K c − sᵀ c   subject to  0 ≤ c ≤ cap,  and Σ c = 1 where asked for

K is positive semi-definite and may be singular (repeated or vanishing gradients are everyday input). Most problems are done
after a few Newton steps on the optimality conditions (the primal-dual active set method; Hintermüller, Ito and Kunisch 2002),
which need not converge. What they leave is solved bound by bound (`active_set`), from wherever they came to. Blocks that are
done are left alone.

Axes: block = problems, general = coordinates.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drpt.geometry.active_set import active_set
from drpt.geometry.bounds import project_onto_capped_simplex
from drpt.geometry.newton_steps import newton_steps, systems_of
from drpt.geometry.residuals import ACCEPTED, VANISHED, cone_residual, hull_residual, lengths, linear_size

_NEWTON_STEPS = 8
_CHANGES = 6  # of bounds, for each coordinate, before `active_set` gives up
_ROUGH_RIDGE = 2.0**-20  # times √n, of each diagonal entry: the least eigenvalue seen of what should be 0 is half as far


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """The coefficients found, and how good they are; whoever uses them looks at ``is_converged``."""

    coefficients: Float[Tensor, "block general"]  # zero where nothing came out that is finite
    residual: Float[Tensor, " block"]  # see `drpt.geometry.residuals`; infinite where nothing finite came out
    num_steps: Int[Tensor, " block"]  # linear systems solved
    is_converged: Bool[Tensor, " block"]  # the residual is at most `drpt.geometry.residuals.ACCEPTED`


def solution(coefficients: Tensor, residual: Tensor, num_steps: Tensor) -> Solution:
    """What was found, without what is not finite.

    Args:
        coefficients: c [block, general].
        residual: Of each block, NaN or infinite where c is of no use [block].
        num_steps: Linear systems solved [block].

    Returns:
        The solution; a block of no use has zeros and an infinite residual, and has not converged.
    """
    is_useless = ~(residual < torch.inf)  # true for NaN
    if bool(is_useless.any()):
        coefficients = torch.where(is_useless[:, None], 0.0, coefficients)
        residual = torch.where(is_useless, torch.inf, residual)
    return Solution(coefficients=coefficients, residual=residual, num_steps=num_steps, is_converged=residual <= ACCEPTED)


def solve(
    gramian: Float[Tensor, "block general general"],
    linear: Float[Tensor, "block general"],
    *,
    cap: Float[Tensor, "#block general"] | None,
    sums_to_one: bool,
    tolerance: float = 1e-9,
) -> Solution:
    """Solve the programs in float64; products that were summed in float32 get a ridge of their rounding's size.

    The residual says how far u can move along one gradient, or from one towards another, before that is optimal: neither a
    block's size nor the lengths of its gradients enter. It is formed from the products as given, the ridge included.

    Args:
        gramian: K, symmetric positive semi-definite up to rounding; not checked.
        linear: s.
        cap: Upper bounds with ``sums_to_one``, of a sum of at least 1; None for no bounds.
        sums_to_one: Whether the coefficients sum to 1.
        tolerance: Residual that Newton's steps must reach, or the program is solved bound by bound; dimensionless.

    Returns:
        The coefficients, with residual and status; a block that did not converge keeps its last iterate and says so.
    """
    gramian, linear = without_rounding(gramian), linear.double()
    own_sq = torch.diagonal(gramian, dim1=1, dim2=2).clamp(min=0)
    if sums_to_one:  # c has a scale of its own; only the objective can be brought to size
        assert cap is not None
        scale = torch.maximum(own_sq.amax(dim=1), linear.abs().amax(dim=1))
        scale = torch.where(scale > 0, scale, 1.0)
        bounds = cap.double()
        bounds = (bounds / bounds.sum(dim=1, keepdim=True).clamp(max=1.0)).expand_as(linear)  # 1 but for rounding
        K, s, unit = gramian / scale[:, None, None], linear / scale[:, None], None
    else:  # c is inverse in the gradients' lengths, and linear in s
        assert cap is None
        bounds = None
        root = torch.where(own_sq > 0, own_sq, 1.0).sqrt()
        s = torch.where(own_sq > 0, linear / root, 0.0)  # a gradient whose square vanishes is none
        size = s.clamp(min=0).amax(dim=1, keepdim=True)  # u is as long at least, however far others point away from it
        size = torch.where(size > 0, size, 1.0)
        K, s, unit = gramian / (root[:, :, None] * root[:, None, :]), s / size, size / root

    def residual(c: Tensor, part: slice | Tensor = slice(None)) -> Tensor:
        if bounds is None:
            return cone_residual(K[part], s[part], c)
        return hull_residual(K[part], s[part], c, bounds[part])

    nothing = torch.zeros_like(s, dtype=torch.bool)
    c, num_steps = newton_steps(systems_of(K, s, bounds, sums_to_one), nothing, nothing, _NEWTON_STEPS)
    reached = residual(c)
    todo = (~(reached <= tolerance)).nonzero().squeeze(1)
    if len(todo):
        part = None if bounds is None else bounds[todo]
        start = _best_start(K[todo], s[todo], c[todo], part)
        size = torch.ones_like(reached[todo]) if part is None else _size(K[todo], s[todo])
        again, steps = active_set(K[todo], s[todo], start, part, size, most_steps=_CHANGES * c.shape[1])
        now = residual(again, todo)
        is_better = ~(reached[todo] <= now)  # true for NaN
        c[todo] = torch.where(is_better[:, None], again, c[todo])
        reached[todo] = torch.where(is_better, now, reached[todo])
        num_steps[todo] += steps
    return solution(c if unit is None else unit * c, reached, num_steps)


def _best_start(K: Tensor, s: Tensor, c: Tensor, cap: Tensor | None) -> Tensor:
    """Newton's point, or zero, or the corner that the slope there points to: what has the smallest objective."""
    if cap is None:
        corner = torch.zeros_like(c)
    else:
        c = project_onto_capped_simplex(c, cap)
        order = torch.argsort(torch.bmm(K, c[:, :, None]).squeeze(2) - s, dim=1)
        most = cap.gather(1, order)
        corner = torch.zeros_like(c).scatter(1, order, torch.minimum(most, (1 - most.cumsum(dim=1) + most).clamp(min=0)))
    objectives = [(x * (torch.bmm(K, x[:, :, None]).squeeze(2) / 2 - s)).sum(dim=1) for x in (c, corner)]
    return torch.where((objectives[0] <= objectives[1])[:, None], c, corner)


def _size(K: Tensor, s: Tensor) -> Tensor:
    """Of v, as far as the products tell, for `active_set`."""
    length = lengths(K)
    return torch.maximum(linear_size(s, length), VANISHED * length.amax(dim=1))


def without_rounding(gramian: Float[Tensor, "block general general"]) -> Float[Tensor, "block general general"]:
    """Symmetric and in float64; what was summed in float32 gets a ridge of its rounding's size, row by row.

    Eigenvalues below the rounding of such products may be negative, and no solution follows from them. Rounding in K_ij is a
    share of ``‖g_i‖ ‖g_j‖``, so the ridge is a share of each K_ii; it grows like the largest eigenvalue of a random error, √n.
    What is solved with it is exact for gradients whose products differ from those given by no more than that.

    Args:
        gramian: K in any dtype.

    Returns:
        K, ready to be solved with.
    """
    exact = gramian.double()
    exact = (exact + exact.mT) / 2
    if gramian.dtype is torch.float64:
        return exact
    ridge = _ROUGH_RIDGE * exact.shape[1] ** 0.5
    return exact + torch.diag_embed(ridge * torch.diagonal(exact, dim1=1, dim2=2))
