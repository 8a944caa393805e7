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

_NEWTON_STEPS = 12
_FAR = 1e3  # where, in units of the problem, only the linear term counts
_NEWTON_RIDGE = 1e-13  # relative; a singular system gets a solution, and its optimality is checked afterwards
_FEW = 0.25  # of the programs: taking them out costs less than solving for all again
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
    systems = _systems(K, s, cap, sums_to_one)
    nothing = torch.zeros_like(s, dtype=torch.bool)
    c, num_steps = _newton_steps(systems, nothing, nothing, _NEWTON_STEPS)
    residual = kkt_residual(K, s, c, cap=cap, sums_to_one=sums_to_one)
    todo = (~(residual <= tolerance)).nonzero().squeeze(1)
    if len(todo):
        part = None if cap is None else cap[todo]
        again = _try_harder(systems.take(todo), c[todo], residual[todo], part, sums_to_one, tolerance)
        c[todo], residual[todo] = again.coefficients, again.residual
        num_steps[todo] += again.num_steps
    return Solution(coefficients=c, residual=residual, num_steps=num_steps, is_converged=residual <= tolerance)


def _try_harder(
    systems: "_Systems", c: Tensor, residual: Tensor, cap: Tensor | None, sums_to_one: bool, tolerance: float
) -> Solution:
    """The other starts, and gradient steps for what they leave."""
    K, s = systems.K, systems.s
    # The largest row sum bounds the largest eigenvalue.
    step = 1.0 / K.abs().sum(dim=2).amax(dim=1).clamp(min=1e-300)
    step = step.clamp(max=1e6)[:, None]
    origin = _project(torch.zeros_like(s), cap, sums_to_one)
    at_origin = kkt_residual(K, s, origin, cap=cap, sums_to_one=sums_to_one)
    is_worse = ~(residual < at_origin)  # true for NaN
    c, residual = torch.where(is_worse[:, None], origin, c), torch.where(is_worse, at_origin, residual)
    num_steps = torch.zeros(len(s), dtype=torch.long, device=s.device)
    for start in (c - step * (_times(K, c) - s), c + _FAR * s):
        todo = (residual > tolerance).nonzero().squeeze(1)
        if len(todo) == 0:
            break
        part = None if cap is None else cap[todo]
        near = _project(start[todo], part, sums_to_one)
        is_high = torch.zeros_like(near, dtype=torch.bool) if part is None else near >= part
        found, steps = _newton_steps(systems.take(todo), near <= 0, is_high, _NEWTON_STEPS)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Systems:
    """Programs, and the linear systems of their optimality conditions with every coordinate free.

    Coordinates of very different size are brought to one. A row and a column for the multiplier come last where the
    coefficients sum to 1.
    """

    K: Tensor  # [block, general, general]
    s: Tensor  # [block, general]
    cap: Tensor | None  # [block, general]
    unit: Tensor  # [block, general], of a coordinate; 1/√K_ii
    matrix: Tensor  # [block, row, row]
    right: Tensor  # [block, row]
    of_bounds: Tensor  # [block, row, general], what a coordinate at a bound takes from `right`
    ridge: Tensor  # [block, row], of the diagonal

    def take(self, blocks: Tensor) -> "_Systems":
        """Some of them."""
        return _Systems(
            K=self.K[blocks],
            s=self.s[blocks],
            cap=None if self.cap is None else self.cap[blocks],
            unit=self.unit[blocks],
            matrix=self.matrix[blocks],
            right=self.right[blocks],
            of_bounds=self.of_bounds[blocks],
            ridge=self.ridge[blocks],
        )


def _systems(K: Tensor, s: Tensor, cap: Tensor | None, sums_to_one: bool) -> _Systems:
    own_sq = torch.diagonal(K, dim1=1, dim2=2)
    unit = torch.where(own_sq > 0, own_sq, 1.0).rsqrt()
    of_bounds = unit[:, :, None] * K
    matrix, right = of_bounds * unit[:, None, :], unit * s
    ridge = torch.full_like(right, _NEWTON_RIDGE)
    if sums_to_one:
        row = unit[:, None, :]
        matrix = torch.cat([torch.cat([matrix, unit[:, :, None]], dim=2), torch.nn.functional.pad(row, (0, 1))], dim=1)
        right = torch.nn.functional.pad(right, (0, 1), value=1.0)
        of_bounds = torch.cat([of_bounds, torch.ones_like(row)], dim=1)
        ridge = torch.nn.functional.pad(ridge, (0, 1))
    return _Systems(K=K, s=s, cap=cap, unit=unit, matrix=matrix, right=right, of_bounds=of_bounds, ridge=ridge)


def _newton_steps(systems: _Systems, is_low: Tensor, is_high: Tensor, most_steps: int) -> tuple[Tensor, Tensor]:
    """Guess which coordinates are at which bound, solve for the others, correct the guess by the signs; repeat.

    A coordinate beyond a bound goes to it; one at a bound is let go where its multiplier has the wrong sign. A guess that
    needs no correction is optimal, and solving for it again changes nothing: only when few are left are they taken out.

    Args:
        systems: The programs.
        is_low: The first guess: coordinates at 0.
        is_high: Coordinates at their caps.
        most_steps: Before giving up.

    Returns:
        Feasible points, of any quality, and the steps taken.
    """
    c, num_steps = _guesses(systems, is_low, is_high, most_steps)
    sums_to_one = systems.matrix.shape[1] > systems.K.shape[1]
    return _project(torch.nan_to_num(c, nan=0.0, posinf=0.0, neginf=0.0), systems.cap, sums_to_one), num_steps


def _guesses(systems: _Systems, is_low: Tensor, is_high: Tensor, most_steps: int) -> tuple[Tensor, Tensor]:
    c, num_steps = torch.zeros_like(systems.s), torch.zeros(len(is_low), dtype=torch.long, device=is_low.device)
    is_under_way: Tensor | None = None  # all of them
    for step in range(1, most_steps + 1):
        c, slope = _solve_guess(systems, is_low, is_high)
        num_steps += 1 if is_under_way is None else is_under_way
        low = torch.where(is_low, slope > 0, c < 0)
        is_changed = low != is_low
        is_low = low
        if systems.cap is not None:
            high = torch.where(is_high, slope < 0, c > systems.cap)
            is_changed |= high != is_high
            is_high = high
        is_under_way = is_changed.any(dim=1)
        num_left = int(is_under_way.sum())
        if num_left == 0:
            break
        if num_left <= _FEW * len(c) and step < most_steps:
            left = is_under_way.nonzero().squeeze(1)
            c[left], steps = _guesses(systems.take(left), is_low[left], is_high[left], most_steps - step)
            num_steps[left] += steps
            break
    return c, num_steps


def _solve_guess(systems: _Systems, is_low: Tensor, is_high: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients where the guessed ones are at their bounds, and the Lagrangian's slope in each of them."""
    n = is_low.shape[1]
    sums_to_one = systems.matrix.shape[1] > n
    is_free = ~(is_low | is_high)
    free = is_free.to(systems.K.dtype)
    if sums_to_one:  # the multiplier is always free
        free = torch.nn.functional.pad(free, (0, 1), value=1.0)
    right = systems.right
    at_bound = torch.zeros_like(systems.s)
    if systems.cap is not None:
        at_bound = is_high * systems.cap
        right = right - _times(systems.of_bounds, at_bound)
    system = systems.matrix * free[:, :, None] * free[:, None, :]
    system.diagonal(dim1=1, dim2=2).add_(1 - free + systems.ridge)
    solved = torch.linalg.solve_ex(system, free * right)[0]
    c = torch.where(is_free, systems.unit * solved[:, :n], at_bound)
    slope = _times(systems.K, c) - systems.s
    if not sums_to_one:
        return c, slope
    multiplier = solved[:, n:]
    is_corner = ~is_free.any(dim=1, keepdim=True)
    if bool(is_corner.any()):
        multiplier = torch.where(is_corner, _corner_multiplier(slope, is_low, is_high), multiplier)
    return c, slope + multiplier


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """Of each block."""
    return torch.bmm(matrix, vector[:, :, None]).squeeze(2)


def _corner_multiplier(slope: Tensor, is_low: Tensor, is_high: Tensor) -> Tensor:
    """With nothing free the multiplier lies between two bounds, if the corner is optimal; the middle, else, frees most."""
    least = torch.where(is_low, -slope, -torch.inf).amax(dim=1, keepdim=True)
    most = torch.where(is_high, -slope, torch.inf).amin(dim=1, keepdim=True)
    least, most = torch.where(least.isinf(), most, least), torch.where(most.isinf(), least, most)
    return (least + most) / 2


def _accelerated_steps(K: Tensor, s: Tensor, c: Tensor, cap: Tensor | None, sums_to_one: bool, step: Tensor) -> Tensor:
    y, momentum = c, torch.ones(len(c), 1, dtype=c.dtype, device=c.device)
    for _ in range(_STEPS_A_ROUND):
        gradient = _times(K, y) - s
        new = _project(y - step * gradient, cap, sums_to_one)
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
        right = free * (s - _times(K, c))
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
        c = _project(c + share.clamp(max=1.0) * change, cap, sums_to_one)
        if bool((share >= 1.0).all()):
            break
    return c


def _project(y: Tensor, cap: Tensor | None, sums_to_one: bool) -> Tensor:
    """Closest point within the bounds, and of sum 1 where asked for."""
    if not sums_to_one:
        return y.clamp(min=0) if cap is None else torch.minimum(y.clamp(min=0), cap)
    return project_onto_capped_simplex(y, torch.ones_like(y) if cap is None else cap)


def project_onto_capped_simplex(
    y: Float[Tensor, "block general"], cap: Float[Tensor, "block general"]
) -> Float[Tensor, "block general"]:
    """Closest point to ``y`` in ``{c : 0 ≤ c ≤ cap, Σ c = 1}``: ``clip(y − τ, 0, cap)`` for the τ that makes the sum 1.

    The sum falls piecewise linearly in τ, with kinks at ``y`` and ``y − cap``: τ lies between two neighbouring kinks and is
    interpolated there, exactly.

    Args:
        y: Any point.
        cap: Upper bounds of sum at least 1; a little less, by rounding, gives the caps themselves.

    Returns:
        The projection.
    """
    kinks = torch.cat([y, y - cap], dim=1).sort(dim=1, descending=True).values  # [block, 2 general]
    sums = (y[:, None, :] - kinks[:, :, None]).clamp(min=0).minimum(cap[:, None, :]).sum(dim=2)  # from 0 up to Σ cap
    after = (sums < 1).sum(dim=1, keepdim=True).clamp(min=1, max=kinks.shape[1] - 1)
    low, high = sums.gather(1, after - 1), sums.gather(1, after)
    share = torch.where(high > low, (1 - low) / torch.where(high > low, high - low, torch.ones_like(low)), torch.ones_like(low))
    before, behind = kinks.gather(1, after - 1), kinks.gather(1, after)
    tau = before + share.clamp(0, 1) * (behind - before)
    return (y - tau).clamp(min=0).minimum(cap)


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
    gradient = _times(gramian, coefficients) - linear
    return (coefficients - _project(coefficients - gradient, cap, sums_to_one)).abs().amax(dim=1)
