"""Newton steps on the optimality conditions of small quadratic programs: the primal-dual active set method.

Guess which coordinates are at which bound, solve for the others, correct the guess by the signs; repeat. The steps need not
converge (Hintermüller, Ito and Kunisch 2002), so the caller must look at the residual.

Axes: ``block`` = programs, ``general`` = coordinates, ``row`` = coordinates and, where they sum to 1, the multiplier.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from drpt.geometry.quadratic_program import QuadraticProgram

_RIDGE = 1e-13  # relative; a singular system gets a solution, and its optimality is checked afterwards
_FEW = 0.25  # share of the programs: taking so few out costs less than solving for all again


@dataclass(frozen=True, slots=True, kw_only=True)
class _Systems:
    """Programs, and the linear systems of their optimality conditions with every coordinate free.

    Coordinates of very different size are scaled to one size. Where the coefficients sum to 1, a row and a column for the
    multiplier come last.
    """

    program: QuadraticProgram
    unit: Tensor  # the unit of each coordinate, 1/√K_ii [block, general]
    matrix: Tensor  # [block, row, row]
    right: Tensor  # the right-hand side [block, row]
    of_bounds: Tensor  # what a coordinate at a bound subtracts from the right-hand side [block, row, general]
    ridge: Tensor  # added to the diagonal [block, row]

    def take(self, blocks: Tensor) -> "_Systems":
        """Some of the systems, by their indices."""
        return _Systems(
            program=self.program.take(blocks),
            unit=self.unit[blocks],
            matrix=self.matrix[blocks],
            right=self.right[blocks],
            of_bounds=self.of_bounds[blocks],
            ridge=self.ridge[blocks],
        )


def newton_steps(program: QuadraticProgram, *, most_steps: int) -> tuple[Tensor, Tensor]:
    """Solve for all coordinates as if no bound held, and from what that says of the bounds, until nothing changes.

    A coordinate beyond a bound goes to it; one at a bound is set free where its multiplier has the wrong sign. A guess that
    needs no correction is optimal, and solving for it again changes nothing, so programs that are done are taken out only when
    few are left.

    Args:
        program: The programs, with numbers near 1.
        most_steps: Number of steps before giving up.

    Returns:
        Points within the bounds [block, general], of any quality and of any sum, and the number of steps taken [block].
    """
    nowhere = torch.zeros_like(program.linear, dtype=torch.bool)
    c, num_steps = _guesses(_systems_of(program), nowhere, nowhere, most_steps)
    c = torch.nan_to_num(c, nan=0.0, posinf=0.0, neginf=0.0).clamp(min=0)
    return c if program.cap is None else torch.minimum(c, program.cap), num_steps


def _systems_of(program: QuadraticProgram) -> _Systems:
    """What the steps have in common, whatever the guess."""
    own_sq = program.own_sq
    unit = torch.where(own_sq > 0, own_sq, 1.0).rsqrt()
    of_bounds = unit[:, :, None] * program.gramian
    matrix, right = of_bounds * unit[:, None, :], unit * program.linear
    ridge = torch.full_like(right, _RIDGE)
    if program.sums_to_one:
        row = unit[:, None, :]
        matrix = torch.cat([torch.cat([matrix, unit[:, :, None]], dim=2), torch.nn.functional.pad(row, (0, 1))], dim=1)
        right = torch.nn.functional.pad(right, (0, 1), value=1.0)
        of_bounds = torch.cat([of_bounds, torch.ones_like(row)], dim=1)
        ridge = torch.nn.functional.pad(ridge, (0, 1))
    return _Systems(program=program, unit=unit, matrix=matrix, right=right, of_bounds=of_bounds, ridge=ridge)


def _guesses(systems: _Systems, is_low: Tensor, is_high: Tensor, most_steps: int) -> tuple[Tensor, Tensor]:
    """Guess, solve and correct; ``is_low`` and ``is_high`` say which coordinates are at 0 and at their caps."""
    cap = systems.program.cap
    c, num_steps = torch.zeros_like(systems.program.linear), torch.zeros(len(is_low), dtype=torch.long, device=is_low.device)
    is_under_way: Tensor | None = None  # all of them
    for step in range(1, most_steps + 1):
        c, slope = _solve_guess(systems, is_low, is_high)
        num_steps += 1 if is_under_way is None else is_under_way
        low = torch.where(is_low, slope > 0, c < 0)
        is_changed = low != is_low
        is_low = low
        if cap is not None:
            high = torch.where(is_high, slope < 0, c > cap)
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
    """Coefficients with the guessed coordinates at their bounds, and the Lagrangian's slope in each coordinate."""
    program = systems.program
    n = is_low.shape[1]
    is_free = ~(is_low | is_high)
    free = is_free.to(program.gramian.dtype)
    if program.sums_to_one:  # the multiplier is always free
        free = torch.nn.functional.pad(free, (0, 1), value=1.0)
    right = systems.right
    at_bound = torch.zeros_like(program.linear)
    if program.cap is not None:
        at_bound = is_high * program.cap
        right = right - torch.bmm(systems.of_bounds, at_bound[:, :, None]).squeeze(2)
    system = systems.matrix * free[:, :, None] * free[:, None, :]
    system.diagonal(dim1=1, dim2=2).add_(1 - free + systems.ridge)
    solved = torch.linalg.solve_ex(system, free * right)[0]
    c = torch.where(is_free, systems.unit * solved[:, :n], at_bound)
    slope = program.slope(c)
    if not program.sums_to_one:
        return c, slope
    multiplier = solved[:, n:]
    is_corner = ~is_free.any(dim=1, keepdim=True)
    if bool(is_corner.any()):
        multiplier = torch.where(is_corner, _corner_multiplier(slope, is_low, is_high), multiplier)
    return c, slope + multiplier


def _corner_multiplier(slope: Tensor, is_low: Tensor, is_high: Tensor) -> Tensor:
    """The multiplier where no coordinate is free: the middle of its bounds, which frees most if the corner is not optimal."""
    least = torch.where(is_low, -slope, -torch.inf).amax(dim=1, keepdim=True)
    most = torch.where(is_high, -slope, torch.inf).amin(dim=1, keepdim=True)
    least, most = torch.where(least.isinf(), most, least), torch.where(most.isinf(), least, most)
    return (least + most) / 2
