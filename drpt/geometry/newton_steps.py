"""Newton steps on the optimality conditions of small quadratic programs: the primal-dual active set method.

Guess which coordinates are at which bound, solve for the others, correct the guess by the signs; repeat. It need not converge
(Hintermüller, Ito and Kunisch 2002), and whoever calls it looks at what came out.

Axes: block = problems, general = coordinates, row = coordinates and, where they sum to 1, the multiplier.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_RIDGE = 1e-13  # relative; a singular system gets a solution, and its optimality is checked afterwards
_FEW = 0.25  # of the programs: taking them out costs less than solving for all again


@dataclass(frozen=True, slots=True, kw_only=True)
class Systems:
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

    @property
    def sums_to_one(self) -> bool:
        """Whether the coefficients do; there is a row for the multiplier then."""
        return self.matrix.shape[1] > self.K.shape[1]

    def take(self, blocks: Tensor) -> "Systems":
        """Some of them."""
        return Systems(
            K=self.K[blocks],
            s=self.s[blocks],
            cap=None if self.cap is None else self.cap[blocks],
            unit=self.unit[blocks],
            matrix=self.matrix[blocks],
            right=self.right[blocks],
            of_bounds=self.of_bounds[blocks],
            ridge=self.ridge[blocks],
        )


def systems_of(K: Tensor, s: Tensor, cap: Tensor | None, sums_to_one: bool) -> Systems:
    """Prepare what the steps from every start have in common.

    Args:
        K: Gramians, brought to size.
        s: Linear terms, likewise.
        cap: Upper bounds; None for none.
        sums_to_one: Whether the coefficients sum to 1.

    Returns:
        The systems.
    """
    own_sq = torch.diagonal(K, dim1=1, dim2=2)
    unit = torch.where(own_sq > 0, own_sq, 1.0).rsqrt()
    of_bounds = unit[:, :, None] * K
    matrix, right = of_bounds * unit[:, None, :], unit * s
    ridge = torch.full_like(right, _RIDGE)
    if sums_to_one:
        row = unit[:, None, :]
        matrix = torch.cat([torch.cat([matrix, unit[:, :, None]], dim=2), torch.nn.functional.pad(row, (0, 1))], dim=1)
        right = torch.nn.functional.pad(right, (0, 1), value=1.0)
        of_bounds = torch.cat([of_bounds, torch.ones_like(row)], dim=1)
        ridge = torch.nn.functional.pad(ridge, (0, 1))
    return Systems(K=K, s=s, cap=cap, unit=unit, matrix=matrix, right=right, of_bounds=of_bounds, ridge=ridge)


def newton_steps(systems: Systems, is_low: Tensor, is_high: Tensor, most_steps: int) -> tuple[Tensor, Tensor]:
    """Solve from a first guess of which bounds hold, and from what that says of it, until it stays or time is up.

    A coordinate beyond a bound goes to it; one at a bound is let go where its multiplier has the wrong sign. A guess that
    needs no correction is optimal, and solving for it again changes nothing: only when few are left are they taken out.

    Args:
        systems: The programs.
        is_low: The first guess: coordinates at 0.
        is_high: Coordinates at their caps.
        most_steps: Before giving up.

    Returns:
        Points within the bounds, of any quality and of any sum, and the steps taken.
    """
    c, num_steps = _guesses(systems, is_low, is_high, most_steps)
    c = torch.nan_to_num(c, nan=0.0, posinf=0.0, neginf=0.0).clamp(min=0)
    return c if systems.cap is None else torch.minimum(c, systems.cap), num_steps


def _guesses(systems: Systems, is_low: Tensor, is_high: Tensor, most_steps: int) -> tuple[Tensor, Tensor]:
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


def _solve_guess(systems: Systems, is_low: Tensor, is_high: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients where the guessed ones are at their bounds, and the Lagrangian's slope in each of them."""
    n = is_low.shape[1]
    is_free = ~(is_low | is_high)
    free = is_free.to(systems.K.dtype)
    if systems.sums_to_one:  # the multiplier is always free
        free = torch.nn.functional.pad(free, (0, 1), value=1.0)
    right = systems.right
    at_bound = torch.zeros_like(systems.s)
    if systems.cap is not None:
        at_bound = is_high * systems.cap
        right = right - matrix_times(systems.of_bounds, at_bound)
    system = systems.matrix * free[:, :, None] * free[:, None, :]
    system.diagonal(dim1=1, dim2=2).add_(1 - free + systems.ridge)
    solved = torch.linalg.solve_ex(system, free * right)[0]
    c = torch.where(is_free, systems.unit * solved[:, :n], at_bound)
    slope = matrix_times(systems.K, c) - systems.s
    if not systems.sums_to_one:
        return c, slope
    multiplier = solved[:, n:]
    is_corner = ~is_free.any(dim=1, keepdim=True)
    if bool(is_corner.any()):
        multiplier = torch.where(is_corner, _corner_multiplier(slope, is_low, is_high), multiplier)
    return c, slope + multiplier


def _corner_multiplier(slope: Tensor, is_low: Tensor, is_high: Tensor) -> Tensor:
    """With nothing free the multiplier lies between two bounds, if the corner is optimal; the middle, else, frees most."""
    least = torch.where(is_low, -slope, -torch.inf).amax(dim=1, keepdim=True)
    most = torch.where(is_high, -slope, torch.inf).amin(dim=1, keepdim=True)
    least, most = torch.where(least.isinf(), most, least), torch.where(most.isinf(), least, most)
    return (least + most) / 2


def matrix_times(matrix: Tensor, vector: Tensor) -> Tensor:
    """``K c`` of each block.

    Args:
        matrix: K [block, row, general].
        vector: c [block, general].

    Returns:
        The products [block, row].
    """
    return torch.bmm(matrix, vector[:, :, None]).squeeze(2)
