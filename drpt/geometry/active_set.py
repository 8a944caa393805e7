"""Small quadratic programs bound by bound: slower than `newton_steps`, and sure to get on.

A feasible point moves to the best one with the same coordinates at their bounds. A bound in the way stops it and holds from
then on; where none is, the bound that holds u up most is let go. The objective never rises (primal active set method: Nocedal
and Wright 2006, section 16.5; for cones Lawson and Hanson 1974). Each solve is for a change of the point, so that solving again
on the same bounds also takes away what a small ridge left.

Coordinates are in units of the gradients' lengths, ``x_i = c_i ℓ_i``, and so is all that is compared: examples of very
different length are alike.

Axes: block = problems, general = coordinates, free = coordinates between their bounds, brought together.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

_RIDGE = 1e-13  # of a gradient's own square; solving again takes its effect away
_SETTLED = 1e-10  # relative: what is less is not pursued
_ROUNDING = 1e-15  # of a slope, relative to the terms it is summed from


@dataclass(slots=True, kw_only=True)
class _Programs:
    """Programs under way."""

    K: Tensor  # of gradients of length 1
    s: Tensor
    top: Tensor  # upper bounds, infinite where there are none
    weight: Tensor | None  # what a unit of each coordinate adds to the sum of coefficients; None where there is no sum
    size: Tensor  # [block, 1]
    x: Tensor  # feasible points
    is_free: Tensor  # coordinates that are not held at a bound
    is_barred: Tensor  # coordinates that were let go in vain: not again before u has moved

    def take(self, blocks: Tensor) -> "_Programs":
        """Some of them."""
        return _Programs(
            K=self.K[blocks],
            s=self.s[blocks],
            top=self.top[blocks],
            weight=None if self.weight is None else self.weight[blocks],
            size=self.size[blocks],
            x=self.x[blocks],
            is_free=self.is_free[blocks],
            is_barred=self.is_barred[blocks],
        )


def active_set(K: Tensor, s: Tensor, c: Tensor, cap: Tensor | None, size: Tensor, *, most_steps: int) -> tuple[Tensor, Tensor]:
    """Minimise ``½ cᵀ K c − sᵀ c`` from a feasible point.

    Args:
        K: Gramians [block, general, general].
        s: Linear terms [block, general].
        c: Feasible points [block, general].
        cap: Upper bounds [block, general] of coefficients that sum to 1; None for neither bounds nor sum.
        size: The length that changes of u are measured by, or, with a sum, by the terms of u where they are longer [block].
        most_steps: Solves before giving up.

    Returns:
        Feasible points of no larger objective, and the number of solves.
    """
    own_sq = torch.diagonal(K, dim1=1, dim2=2).clamp(min=0)
    longest_sq = own_sq.amax(dim=1, keepdim=True)
    unit = torch.where(own_sq > 0, own_sq, torch.where(longest_sq > 0, longest_sq, 1.0)).rsqrt()
    top = torch.full_like(c, torch.inf) if cap is None else cap / unit
    left = _Programs(
        K=unit[:, :, None] * K * unit[:, None, :],
        s=unit * s,
        top=top,
        weight=None if cap is None else unit,
        size=size[:, None],
        x=c / unit,
        is_free=(c > 0) & (c / unit < top),
        is_barred=torch.zeros_like(c, dtype=torch.bool),
    )
    x, num_steps = left.x.clone(), torch.zeros(len(c), dtype=torch.long, device=c.device)
    places = torch.arange(len(c), device=c.device)
    for _ in range(most_steps):
        left, is_done = _step(left)
        x[places] = left.x
        num_steps[places] += 1
        if bool(is_done.any()):
            todo = (~is_done).nonzero().squeeze(1)
            left, places = left.take(todo), places[todo]
            if len(places) == 0:
                break
    return unit * x, num_steps


def _step(given: _Programs) -> tuple[_Programs, Tensor]:
    """Move every point once, and change one bound of each.

    Args:
        given: The programs.

    Returns:
        The same, moved, and which of them are done [block].
    """
    slope = _slope(given, given.x)
    change = _change(given, slope)
    room = torch.where(change < 0, given.x, given.top - given.x)
    share = torch.where(change != 0, room / torch.where(change != 0, change, 1.0).abs(), torch.inf)
    first = share.amin(dim=1, keepdim=True)
    is_stopped = first < 1.0
    is_in_the_way = is_stopped & (share <= first)
    length = first.clamp(max=1.0)
    x = torch.minimum((given.x + length * change).clamp(min=0), given.top)
    x = torch.where(is_in_the_way, torch.where(change < 0, 0.0, given.top), x)

    terms = x.sum(dim=1, keepdim=True)
    rounding = _ROUNDING * terms
    least = _SETTLED * (given.size if given.weight is None else torch.maximum(given.size, terms))
    floor = least + rounding
    has_moved = length * (1 - length / 2) * -(slope * change).sum(dim=1, keepdim=True) > 0.1 * floor**2
    is_barred = (given.is_barred & ~has_moved) | (is_in_the_way & ~has_moved)
    is_free = given.is_free & ~is_in_the_way
    moved = replace(given, x=x, is_free=is_free, is_barred=is_barred)

    gain, left = _gain(moved, rounding)
    is_settled = left <= floor
    best = gain.argmax(dim=1, keepdim=True)
    is_still = ~is_stopped & (is_settled | ~has_moved)
    is_loose = is_still & (gain.gather(1, best) > least)
    moved.is_free = is_free.scatter(1, best, is_free.gather(1, best) | is_loose)
    return moved, (is_still & ~is_loose).squeeze(1)


def _slope(given: _Programs, x: Tensor) -> Tensor:
    return torch.bmm(given.K, x[:, :, None]).squeeze(2) - given.s


def _change(given: _Programs, slope: Tensor) -> Tensor:
    """From x to the best point with the same coordinates at their bounds."""
    count = int(given.is_free.sum(dim=1).max())
    if count == 0:
        return torch.zeros_like(slope)
    place = torch.argsort(given.is_free.to(torch.int8), dim=1, descending=True, stable=True)[:, :count]
    free = given.is_free.gather(1, place).to(slope)
    rows = torch.arange(len(place), device=place.device)[:, None, None]
    system = given.K[rows, place[:, :, None], place[:, None, :]] * (free[:, :, None] * free[:, None, :])
    system.diagonal(dim1=1, dim2=2).add_(1 - free + _RIDGE)
    right = -free * slope.gather(1, place)
    if given.weight is not None:
        edge = free * given.weight.gather(1, place)
        largest = edge.amax(dim=1, keepdim=True)
        edge = edge / torch.where(largest > 0, largest, 1.0)
        corner = (largest == 0).to(edge)[:, :, None]  # nothing is free
        system = torch.cat([torch.cat([system, edge[:, :, None]], dim=2), torch.cat([edge[:, None], corner], dim=2)], dim=1)
        right = torch.nn.functional.pad(right, (0, 1))
    solved = torch.linalg.solve_ex(system, right)[0][:, :count]
    return torch.zeros_like(slope).scatter(1, place, free * torch.nan_to_num(solved, nan=0.0, posinf=0.0, neginf=0.0))


def _gain(given: _Programs, rounding: Tensor) -> tuple[Tensor, Tensor]:
    """How far u would move for each coordinate that is let go, and the largest slope that free ones are left with.

    Args:
        given: The programs.
        rounding: Of slopes [block, 1].

    Returns:
        −∞ for coordinates that are free, barred, or have no room [block, general]; and [block, 1].
    """
    slope = _slope(given, given.x)
    is_high = ~given.is_free & (given.x >= given.top)
    if given.weight is not None:
        slope = slope + given.weight * _multiplier(given, slope, is_high)
    left = torch.where(given.is_free, slope.abs(), 0.0).amax(dim=1, keepdim=True)
    gain = torch.where(is_high, slope, -slope) - rounding
    if given.weight is not None:
        gain = gain / _distance_to_shortest(given)
    return torch.where(given.is_free | given.is_barred | (given.top <= 0), -torch.inf, gain), left


def _distance_to_shortest(given: _Programs) -> Tensor:
    """How far u moves when a unit of a coordinate is taken from the shortest gradient that is free."""
    assert given.weight is not None
    own_sq = torch.diagonal(given.K, dim1=1, dim2=2)
    length_sq = torch.where(given.is_free, own_sq / given.weight.square(), torch.inf)
    shortest = length_sq.argmin(dim=1, keepdim=True)
    share = given.weight / given.weight.gather(1, shortest)
    between = given.K.gather(2, shortest[:, :, None].expand(-1, own_sq.shape[1], -1)).squeeze(2)
    square = own_sq - 2 * share * between + share.square() * own_sq.gather(1, shortest)
    return torch.maximum(square, 1e-16 * (own_sq + share.square())).clamp(min=1e-300).sqrt()


def _multiplier(given: _Programs, slope: Tensor, is_high: Tensor) -> Tensor:
    """Of the sum: what makes the free coordinates' slopes vanish; with none free, the middle between the bounds' slopes."""
    assert given.weight is not None
    weight = torch.where(given.is_free, given.weight, 0.0)
    square = (weight / weight.amax(dim=1, keepdim=True).clamp(min=1e-300)).square().sum(dim=1, keepdim=True)
    ratio = -slope / given.weight
    relative = (weight / weight.amax(dim=1, keepdim=True).clamp(min=1e-300)).square() / square.clamp(min=1e-300)
    free = (relative * ratio).sum(dim=1, keepdim=True)
    has_room = given.top > 0
    least = torch.where(~is_high & has_room, ratio, -torch.inf).amax(dim=1, keepdim=True)
    most = torch.where(is_high & has_room, ratio, torch.inf).amin(dim=1, keepdim=True)
    least, most = torch.where(least.isinf(), most, least), torch.where(most.isinf(), least, most)
    return torch.where(given.is_free.any(dim=1, keepdim=True), free, torch.nan_to_num((least + most) / 2))
