"""Small quadratic programs bound by bound: slower than `newton_steps`, and sure to get on.

A feasible point moves to the best one with the same coordinates at their bounds. A bound in the way stops it and holds from
then on; where none is, the bound that holds u up most is let go. The objective never rises (primal active set method: Nocedal
and Wright 2006, section 16.5; for cones Lawson and Hanson 1974). Each solve is for a change of the point, so that solving again
on the same bounds also takes away what a small ridge left.

Coordinates are in units of the gradients' lengths, ``x_i = c_i ℓ_i``, and so is all that is compared: examples of very
different length are alike.

Axes: block = problems, general = coordinates, free = coordinates between their bounds, brought together.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_RIDGE = 1e-13  # of a gradient's own square; solving again takes its effect away
_SETTLED = 1e-10  # relative: what is less is not pursued
_ROUNDING = 1e-15  # of a slope, relative to the terms it is summed from
_FEW = 16  # coordinates: bringing the free ones together costs more than solving with all
_TINY = 1e-300  # keeps what is 0 from being divided by 0


@dataclass(slots=True, kw_only=True)
class _Programs:
    """Programs under way."""

    K: Tensor  # of gradients of length 1
    own_sq: Tensor  # its diagonal
    s: Tensor
    top: Tensor | None  # upper bounds; None where there are none
    weight: Tensor | None  # what a unit of each coordinate adds to the sum of coefficients; None where there is no sum
    size: Tensor  # [block, 1]
    x: Tensor  # feasible points
    slope: Tensor  # K x − s
    is_free: Tensor  # coordinates that are not held at a bound; one at least where there is a sum
    is_barred: Tensor  # coordinates that were let go in vain: not again before u has moved

    def take(self, blocks: Tensor) -> "_Programs":
        """Some of them."""
        return _Programs(
            K=self.K[blocks],
            own_sq=self.own_sq[blocks],
            s=self.s[blocks],
            top=None if self.top is None else self.top[blocks],
            weight=None if self.weight is None else self.weight[blocks],
            size=self.size[blocks],
            x=self.x[blocks],
            slope=self.slope[blocks],
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
    scaled, x = unit[:, :, None] * K * unit[:, None, :], c / unit
    top = None if cap is None else cap / unit
    left = _Programs(
        K=scaled,
        own_sq=torch.diagonal(scaled, dim1=1, dim2=2),
        s=unit * s,
        top=top,
        weight=None if cap is None else unit,
        size=size[:, None],
        x=x,
        slope=torch.bmm(scaled, x[:, :, None]).squeeze(2) - unit * s,
        is_free=x > 0 if top is None else (x > 0) & (x < top),
        is_barred=torch.zeros_like(c, dtype=torch.bool),
    )
    found, num_steps = x.clone(), torch.zeros(len(c), dtype=torch.long, device=c.device)
    places, is_done = torch.arange(len(c), device=c.device), torch.zeros(len(c), dtype=torch.bool, device=c.device)
    for _ in range(most_steps):
        num_steps[places] += ~is_done
        is_done = is_done | _step(left)
        num_done = int(is_done.sum())
        if num_done == len(places):
            break
        if 2 * num_done >= len(places):  # a step of those that are done changes nothing
            found[places] = left.x
            todo = (~is_done).nonzero().squeeze(1)
            left, places, is_done = left.take(todo), places[todo], is_done[todo]
    found[places] = left.x
    return unit * found, num_steps


def _step(given: _Programs) -> Tensor:
    """Move every point once, and change one bound of each, in place.

    Args:
        given: The programs.

    Returns:
        Which of them are done [block].
    """
    if given.weight is not None:  # at a corner, the multiplier of the sum is that of the longest term
        is_corner = ~given.is_free.any(dim=1, keepdim=True)
        longest = given.x.argmax(dim=1, keepdim=True)
        given.is_free = given.is_free.scatter(1, longest, given.is_free.gather(1, longest) | is_corner)
    before, slope = given.x, given.slope
    change, multiplier = _change(given)
    shift = None if multiplier is None or given.weight is None else given.weight * multiplier
    is_held = _move(given, change)
    is_stopped = is_held.any(dim=1, keepdim=True)
    terms = given.x.sum(dim=1, keepdim=True)
    rounding = _ROUNDING * terms
    least = _SETTLED * (given.size if given.weight is None else torch.maximum(given.size, terms))
    has_moved = _fall(slope, given.slope, given.x - before, shift) > 0.1 * (least + rounding).square()
    given.is_barred = (given.is_barred | is_held) & ~has_moved
    given.is_free = given.is_free & ~is_held

    gain, is_settled = _gain(given, given.slope if shift is None else given.slope + shift, least, rounding)
    largest = gain.max(dim=1, keepdim=True)
    is_still = ~is_stopped & (is_settled | ~has_moved)
    is_loose = is_still & (largest.values > least)
    given.is_free = given.is_free.scatter(1, largest.indices, given.is_free.gather(1, largest.indices) | is_loose)
    return (is_still & ~is_loose).squeeze(1)


def _move(given: _Programs, change: Tensor) -> Tensor:
    """Go as far as the first bound in the way.

    Args:
        given: The programs; moved in place.
        change: Where to, if no bound stops it.

    Returns:
        Coordinates that are stopped by their bounds [block, general].
    """
    room = torch.where(change < 0, given.x, torch.inf if given.top is None else given.top - given.x)
    share = torch.where(change != 0, room / change.abs(), torch.inf)
    first = share.amin(dim=1, keepdim=True)
    x = (given.x + first.clamp(max=1.0) * change).clamp(min=0)
    is_in_the_way = (share <= first) & (first < 1.0)
    if given.top is None:
        given.x = x.masked_fill(is_in_the_way, 0.0)
    else:
        given.x = torch.where(is_in_the_way, torch.where(change < 0, 0.0, given.top), torch.minimum(x, given.top))
    given.slope = torch.bmm(given.K, given.x[:, :, None]).squeeze(2) - given.s
    return is_in_the_way


def _fall(before: Tensor, after: Tensor, step: Tensor, shift: Tensor | None) -> Tensor:
    """By how much a quadratic falls between two points, from its slopes there, less what is the same along the sum."""
    both = before + after if shift is None else before + after + 2 * shift
    return -0.5 * (both * step).sum(dim=1, keepdim=True)


def _change(given: _Programs) -> tuple[Tensor, Tensor | None]:
    """From x to the best point with the same coordinates at their bounds, and the sum's multiplier there."""
    place, n = None, given.x.shape[1]
    free, K, weight = given.is_free.to(given.x), given.K, given.weight
    right = -free * given.slope
    count = n if n <= _FEW else int(given.is_free.sum(dim=1).amax())
    if count < n:
        place = torch.argsort(given.is_free, dim=1, descending=True, stable=True)[:, :count]
        blocks = torch.arange(len(place), device=place.device)[:, None, None]
        K = K[blocks, place[:, :, None], place[:, None, :]]
        free, right = free.gather(1, place), right.gather(1, place)
        weight = None if weight is None else weight.gather(1, place)
    system = K * free[:, :, None] * free[:, None, :]
    system.diagonal(dim1=1, dim2=2).add_(1 + _RIDGE - free)
    if weight is not None:
        inner, system = system, torch.zeros(len(K), count + 1, count + 1, dtype=K.dtype, device=K.device)
        edge = free * weight
        largest = edge.amax(dim=1, keepdim=True)
        edge = edge / largest
        system[:, :count, :count], system[:, :count, count], system[:, count, :count] = inner, edge, edge
        right = torch.nn.functional.pad(right, (0, 1))
    solved = torch.nan_to_num(torch.linalg.solve_ex(system, right)[0], nan=0.0, posinf=0.0, neginf=0.0)
    change = free * solved[:, :count]
    if place is not None:
        change = torch.zeros_like(given.x).scatter(1, place, change)
    return change, None if weight is None else solved[:, count:] / largest


def _gain(given: _Programs, slope: Tensor, least: Tensor, rounding: Tensor) -> tuple[Tensor, Tensor]:
    """How far u would move for each coordinate that is let go, and whether the free ones need no other solve.

    Args:
        given: The programs, at a point that no bound stopped.
        slope: With the sum's multiplier [block, general].
        least: What is not worth a move [block, 1].
        rounding: Of slopes [block, 1].

    Returns:
        −∞ for coordinates that are free, barred, or have no room [block, general]; and [block, 1].
    """
    is_settled = (slope.abs() * given.is_free).amax(dim=1, keepdim=True) <= least + rounding
    is_out = given.is_free | given.is_barred
    if given.top is None:
        return (-slope - rounding).masked_fill(is_out, -torch.inf), is_settled
    gain = torch.where(given.x >= given.top, slope, -slope) - rounding
    gain = gain / _distance_to_shortest(given)
    return gain.masked_fill(is_out | (given.top <= 0), -torch.inf), is_settled


def _distance_to_shortest(given: _Programs) -> Tensor:
    """How far u moves when a unit of a coordinate is taken from the shortest gradient that is free."""
    assert given.weight is not None
    length_sq = (given.own_sq / given.weight.square()).masked_fill(~given.is_free, torch.inf)
    shortest = length_sq.argmin(dim=1, keepdim=True)
    share = given.weight / given.weight.gather(1, shortest)
    between = given.K.gather(2, shortest[:, :, None].expand(-1, share.shape[1], -1)).squeeze(2)
    share_sq = share.square()
    square = given.own_sq - 2 * share * between + share_sq * given.own_sq.gather(1, shortest)
    return torch.maximum(square, 1e-16 * (given.own_sq + share_sq)).clamp(min=_TINY).sqrt()
