"""Small convex quadratic programs, many at once: what projections onto cones and hulls come down to.

    minimise  ½ cᵀ K c − sᵀ c   subject to  0 ≤ c ≤ cap,  and Σ c = 1 where asked for

K is positive semi-definite and may be singular (repeated or vanishing gradients are everyday input). Most problems are done
after a few Newton steps on the optimality conditions (the primal-dual active set method; Hintermüller, Ito and Kunisch 2002),
which need not converge and are tried from three starts: no bound holds; those of one gradient step do; those of a corner,
where the linear term alone counts. What is left takes accelerated projected gradient steps (FISTA with restarts; Beck and
Teboulle 2009, O'Donoghue and Candès 2015), which find out which bounds hold, and a direct solve on the coordinates between
them, which gives all digits. Blocks that are done are left alone.

Axes: block = problems, general = coordinates.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drpt.geometry.bounds import project_onto_bounds
from drpt.geometry.newton_steps import Systems, matrix_times, newton_steps, systems_of

_NEWTON_STEPS = 12
_FAR = 1e3  # where, in units of the problem, only the linear term counts
_ROUNDS = 60
_STEPS_A_ROUND = 50
_SOLVES_A_ROUND = 6
_ROUGH_RIDGE = 2.0**-19  # of each diagonal entry: a few roundings of float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """The coefficients found, and how good they are; whoever uses them looks at ``is_converged``."""

    coefficients: Float[Tensor, "block general"]
    residual: Float[Tensor, " block"]  # see `kkt_residual`
    num_steps: Int[Tensor, " block"]  # Newton and gradient steps taken
    is_converged: Bool[Tensor, " block"]  # the residual is within the tolerance


def solve(
    gramian: Float[Tensor, "block general general"],
    linear: Float[Tensor, "block general"],
    *,
    cap: Float[Tensor, "#block general"] | None,
    sums_to_one: bool,
    tolerance: float = 1e-9,
) -> Solution:
    """Solve the programs in float64; products that were summed in float32 get a ridge of their rounding's size.

    Without bounds from above and a sum, the coordinates have no scale of their own and are brought to one: the solution is
    as good for small gradients as for large ones. With them, it is good relative to the largest gradient: where the rows
    differ by more than about 10⁴ in length, the smaller ones' share of u may be off by more than the tolerance says.

    Args:
        gramian: K, symmetric positive semi-definite up to rounding; not checked.
        linear: s.
        cap: Upper bounds, positive where ``sums_to_one``, with a sum of at least 1; None for no bounds.
        sums_to_one: Whether the coefficients sum to 1.
        tolerance: Accepted `kkt_residual`, relative to the problem's own scale; dimensionless.

    Returns:
        The coefficients, with residual and status; a block that did not converge keeps its last iterate and says so.
    """
    gramian, linear = without_rounding(gramian), linear.double()
    own_sq = torch.diagonal(gramian, dim1=1, dim2=2).clamp(min=0)
    if cap is None and not sums_to_one:  # c is inverse in the gradients' lengths, and linear in s
        root = torch.where(own_sq > 0, own_sq, 1.0).sqrt()
        aligned = linear / root
        size = aligned.abs().amax(dim=1, keepdim=True)
        size = torch.where(size > 0, size, 1.0)
        solution = _iterate(gramian / (root[:, :, None] * root[:, None, :]), aligned / size, None, False, tolerance)
        unit = size / root
    else:  # c has a scale of its own; only the objective can be brought to size
        scale = torch.maximum(own_sq.amax(dim=1), linear.abs().amax(dim=1))
        scale = torch.where(scale > 0, scale, 1.0)
        bounds = None if cap is None else cap.double().expand_as(linear)
        solution = _iterate(gramian / scale[:, None, None], linear / scale[:, None], bounds, sums_to_one, tolerance)
        unit = torch.ones_like(linear)
    return Solution(
        coefficients=solution.coefficients * unit,
        residual=solution.residual,
        num_steps=solution.num_steps,
        is_converged=solution.is_converged,
    )


def without_rounding(gramian: Float[Tensor, "block general general"]) -> Float[Tensor, "block general general"]:
    """Symmetric and in float64; what was summed in float32 gets a ridge of its rounding's size, row by row.

    Eigenvalues below the rounding of such products may be negative, and no solution follows from them. Rounding in K_ij is a
    share of ``‖g_i‖ ‖g_j‖``, so the ridge is a share of each K_ii.

    Args:
        gramian: K in any dtype.

    Returns:
        K, ready to be solved with.
    """
    exact = gramian.double()
    exact = (exact + exact.mT) / 2
    if gramian.dtype is torch.float64:
        return exact
    return exact + torch.diag_embed(_ROUGH_RIDGE * torch.diagonal(exact, dim1=1, dim2=2))


def _iterate(K: Tensor, s: Tensor, cap: Tensor | None, sums_to_one: bool, tolerance: float) -> Solution:
    systems = systems_of(K, s, cap, sums_to_one)
    nothing = torch.zeros_like(s, dtype=torch.bool)
    c, num_steps = newton_steps(systems, nothing, nothing, _NEWTON_STEPS)
    residual = kkt_residual(K, s, c, cap=cap, sums_to_one=sums_to_one)
    todo = (~(residual <= tolerance)).nonzero().squeeze(1)
    if len(todo):
        part = None if cap is None else cap[todo]
        again = _try_harder(systems.take(todo), c[todo], residual[todo], part, sums_to_one, tolerance)
        c[todo], residual[todo] = again.coefficients, again.residual
        num_steps[todo] += again.num_steps
    return Solution(coefficients=c, residual=residual, num_steps=num_steps, is_converged=residual <= tolerance)


def _try_harder(
    systems: Systems, c: Tensor, residual: Tensor, cap: Tensor | None, sums_to_one: bool, tolerance: float
) -> Solution:
    """The other starts, and gradient steps for what they leave."""
    K, s = systems.K, systems.s
    # The largest row sum bounds the largest eigenvalue.
    step = 1.0 / K.abs().sum(dim=2).amax(dim=1).clamp(min=1e-300)
    step = step.clamp(max=1e6)[:, None]
    origin = project_onto_bounds(torch.zeros_like(s), cap, sums_to_one)
    at_origin = kkt_residual(K, s, origin, cap=cap, sums_to_one=sums_to_one)
    is_worse = ~(residual < at_origin)  # true for NaN
    c, residual = torch.where(is_worse[:, None], origin, c), torch.where(is_worse, at_origin, residual)
    num_steps = torch.zeros(len(s), dtype=torch.long, device=s.device)
    for start in (c - step * (matrix_times(K, c) - s), c + _FAR * s):
        todo = (residual > tolerance).nonzero().squeeze(1)
        if len(todo) == 0:
            break
        part = None if cap is None else cap[todo]
        near = project_onto_bounds(start[todo], part, sums_to_one)
        is_high = torch.zeros_like(near, dtype=torch.bool) if part is None else near >= part
        found, steps = newton_steps(systems.take(todo), near <= 0, is_high, _NEWTON_STEPS)
        num_steps[todo] += steps
        reached = kkt_residual(K[todo], s[todo], found, cap=part, sums_to_one=sums_to_one)
        is_better = reached < residual[todo]  # false for NaN
        c[todo] = torch.where(is_better[:, None], found, c[todo])
        residual[todo] = torch.where(is_better, reached, residual[todo])
    for _ in range(_ROUNDS):
        todo = (residual > tolerance).nonzero().squeeze(1)
        if len(todo) == 0:
            break
        part = None if cap is None else cap[todo]
        near = _accelerated_steps(K[todo], s[todo], c[todo], part, sums_to_one, step[todo])
        exact = _solve_between_bounds(K[todo], s[todo], near, part, sums_to_one)
        residuals = [kkt_residual(K[todo], s[todo], found, cap=part, sums_to_one=sums_to_one) for found in (near, exact)]
        is_exact_better = residuals[1] < residuals[0]
        c[todo] = torch.where(is_exact_better[:, None], exact, near)
        residual[todo] = torch.where(is_exact_better, residuals[1], residuals[0])
        num_steps[todo] += _STEPS_A_ROUND
    return Solution(coefficients=c, residual=residual, num_steps=num_steps, is_converged=residual <= tolerance)


def _accelerated_steps(K: Tensor, s: Tensor, c: Tensor, cap: Tensor | None, sums_to_one: bool, step: Tensor) -> Tensor:
    y, momentum = c, torch.ones(len(c), 1, dtype=c.dtype, device=c.device)
    for _ in range(_STEPS_A_ROUND):
        gradient = matrix_times(K, y) - s
        new = project_onto_bounds(y - step * gradient, cap, sums_to_one)
        # Momentum that points uphill is dropped.
        momentum = torch.where(((y - new) * (new - c)).sum(dim=1, keepdim=True) > 0, torch.ones_like(momentum), momentum)
        next_momentum = (1 + torch.sqrt(1 + 4 * momentum**2)) / 2
        y = new + (momentum - 1) / next_momentum * (new - c)
        c, momentum = new, next_momentum
    return c


def _solve_between_bounds(K: Tensor, s: Tensor, c: Tensor, cap: Tensor | None, sums_to_one: bool) -> Tensor:
    """Keep coordinates at their bounds, solve for the others, and stop at the first bound that comes in the way; repeat.

    Of all solutions of a singular system the one nearest to ``c`` is taken: it leaves the bounds that hold alone.

    Args:
        K: Gramians, brought to size.
        s: Linear terms.
        c: Feasible points.
        cap: Upper bounds.
        sums_to_one: Whether the coefficients sum to 1.

    Returns:
        Feasible points of no larger objective.
    """
    n = c.shape[1]
    for _ in range(_SOLVES_A_ROUND):
        near = 1e-10 * c.abs().amax(dim=1, keepdim=True).clamp(min=1e-30)
        is_free = c > near if cap is None else (c > near) & (c < cap - near)
        free = is_free.to(c.dtype)
        right = free * (s - matrix_times(K, c))
        system = free[:, :, None] * K * free[:, None, :]
        if sums_to_one:  # a row and column for the multiplier
            bordered = system.new_zeros(len(c), n + 1, n + 1)
            bordered[:, :n, :n] = system
            bordered[:, :n, n] = bordered[:, n, :n] = free
            system = bordered
            right = torch.cat([right, 1 - c.sum(dim=1, keepdim=True)], dim=1)
        change = free * torch.einsum("bij,bj->bi", torch.linalg.pinv(system, hermitian=True, rtol=1e-13), right)[:, :n]
        room = torch.where(change < 0, c, torch.full_like(c, torch.inf) if cap is None else cap - c)
        share = torch.where(change.abs() > 0, room / change.abs().clamp(min=1e-300), torch.inf).amin(dim=1, keepdim=True)
        c = project_onto_bounds(c + share.clamp(max=1.0) * change, cap, sums_to_one)
        if bool((share >= 1.0).all()):
            break
    return c


def kkt_residual(
    gramian: Float[Tensor, "block general general"],
    linear: Float[Tensor, "block general"],
    coefficients: Float[Tensor, "block general"],
    *,
    cap: Float[Tensor, "block general"] | None,
    sums_to_one: bool,
) -> Float[Tensor, " block"]:
    """How far from optimal: ``max |c − Π(c − ∇f(c))|``, zero exactly where the KKT conditions hold.

    Args:
        gramian: K, brought to size (largest diagonal entry about 1).
        linear: s, likewise.
        coefficients: c, within the bounds.
        cap: Upper bounds.
        sums_to_one: Whether the coefficients sum to 1.

    Returns:
        One number a block.
    """
    gradient = matrix_times(gramian, coefficients) - linear
    return (coefficients - project_onto_bounds(coefficients - gradient, cap, sums_to_one)).abs().amax(dim=1)
