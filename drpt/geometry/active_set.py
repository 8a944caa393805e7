"""Small quadratic programs bound by bound: slower than `newton_steps`, and certain to make progress.

A feasible point moves to the best point with the same coordinates at their bounds. A bound in the way stops it and holds from
then on; where no bound is in the way, the one whose release gains most is released. The objective never rises (primal active
set method: Nocedal and Wright 2006, section 16.5; for cones Lawson and Hanson 1974). Each solve is for a change of the point,
so that solving again with the same bounds also removes the effect of the small ridge.

Coordinates are in units of the gradients' lengths, ``x_i = c_i ℓ_i``, and so is all that is compared: examples of very
different length are treated alike.

Axes: ``block`` = programs, ``general`` = coordinates, ``free`` = coordinates between their bounds, gathered at the front.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from drpt.geometry.quadratic_program import QuadraticProgram

_RIDGE = 1e-13  # share of a gradient's own square; solving again removes its effect
_SETTLED = 1e-10  # relative: a smaller gain is not pursued
_ROUNDING = 1e-15  # rounding error of a slope, relative to the terms it is summed from
_FEW = 16  # coordinates: up to here, gathering the free ones costs more than solving with all
_TINY = 1e-300  # keeps 0 from being divided by 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnitPrograms:
    """Programs over gradients of length 1, and what does not change while they are solved."""

    program: QuadraticProgram  # its caps are upper bounds of x
    own_sq: Tensor  # the diagonal of its gramian [block, general]
    weight: Tensor | None  # what a unit of each coordinate adds to the sum of coefficients; None where there is no sum
    size: Tensor  # the length that changes of u are compared with [block, 1]

    @property
    def top(self) -> Tensor | None:
        """Upper bounds of x; None where there are none."""
        return self.program.cap

    def take(self, blocks: Tensor) -> "_UnitPrograms":
        """Some of the programs, by their indices."""
        return _UnitPrograms(
            program=self.program.take(blocks),
            own_sq=self.own_sq[blocks],
            weight=None if self.weight is None else self.weight[blocks],
            size=self.size[blocks],
        )


@dataclass(slots=True, kw_only=True)
class _Points:
    """Where the search stands in each program."""

    x: Tensor  # feasible points
    slope: Tensor  # K x − s
    is_free: Tensor  # coordinates that are not held at a bound; at least one where there is a sum
    is_barred: Tensor  # coordinates whose release changed nothing: not released again before u has moved

    def take(self, blocks: Tensor) -> "_Points":
        """Some of the points, by their indices."""
        return _Points(
            x=self.x[blocks],
            slope=self.slope[blocks],
            is_free=self.is_free[blocks],
            is_barred=self.is_barred[blocks],
        )


def active_set(program: QuadraticProgram, start: Tensor, size: Tensor, *, most_steps: int) -> tuple[Tensor, Tensor]:
    """Minimise the programs' objectives from a feasible point.

    Args:
        program: The programs, in float64.
        start: Feasible coefficients [block, general].
        size: The length that changes of u are compared with [block]; where coefficients sum to 1, the terms of u are compared
            with where they are longer.
        most_steps: Number of solves before giving up.

    Returns:
        Feasible coefficients [block, general] with an objective no larger than at the start, and the number of solves [block].
    """
    given, unit = _unit_programs(program, size)
    x, top = start / unit, given.top
    points = _Points(
        x=x,
        slope=given.program.slope(x),
        is_free=x > 0 if top is None else (x > 0) & (x < top),
        is_barred=torch.zeros_like(start, dtype=torch.bool),
    )
    found, num_steps = x.clone(), torch.zeros(len(x), dtype=torch.long, device=x.device)
    places, is_done = torch.arange(len(x), device=x.device), torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for _ in range(most_steps):
        num_steps[places] += ~is_done
        is_done = is_done | _step(given, points)
        num_done = int(is_done.sum())
        if num_done == len(places):
            break
        if 2 * num_done >= len(places):  # another step would change nothing in those that are done
            found[places] = points.x
            todo = (~is_done).nonzero().squeeze(1)
            given, points, places, is_done = given.take(todo), points.take(todo), places[todo], is_done[todo]
    found[places] = points.x
    return unit * found, num_steps


def _unit_programs(program: QuadraticProgram, size: Tensor) -> tuple[_UnitPrograms, Tensor]:
    """The programs in units of the gradients' lengths, and the unit of each coordinate."""
    own_sq = program.own_sq
    longest_sq = own_sq.amax(dim=1, keepdim=True)
    unit = torch.where(own_sq > 0, own_sq, torch.where(longest_sq > 0, longest_sq, 1.0)).rsqrt()
    scaled = QuadraticProgram(
        gramian=unit[:, :, None] * program.gramian * unit[:, None, :],
        linear=unit * program.linear,
        cap=None if program.cap is None else program.cap / unit,
    )
    given = _UnitPrograms(
        program=scaled,
        own_sq=torch.diagonal(scaled.gramian, dim1=1, dim2=2),
        weight=unit if program.sums_to_one else None,
        size=size[:, None],
    )
    return given, unit


def _step(given: _UnitPrograms, points: _Points) -> Tensor:
    """Move every point once, and change at most one bound of each.

    Args:
        given: The programs.
        points: Where the search stands; changed in place.

    Returns:
        Which programs are done [block].
    """
    if given.weight is not None:  # at a corner, the sum's multiplier is that of the longest term
        is_corner = ~points.is_free.any(dim=1, keepdim=True)
        longest = points.x.argmax(dim=1, keepdim=True)
        points.is_free = points.is_free.scatter(1, longest, points.is_free.gather(1, longest) | is_corner)
    before, slope = points.x, points.slope
    change, multiplier = _change(given, points)
    shift = None if multiplier is None or given.weight is None else given.weight * multiplier
    is_held = _move(given, points, change)
    is_stopped = is_held.any(dim=1, keepdim=True)
    terms = points.x.sum(dim=1, keepdim=True)
    rounding = _ROUNDING * terms
    least = _SETTLED * (given.size if given.weight is None else torch.maximum(given.size, terms))
    has_moved = _fall(slope, points.slope, points.x - before, shift) > 0.1 * (least + rounding).square()
    points.is_barred = (points.is_barred | is_held) & ~has_moved
    points.is_free = points.is_free & ~is_held

    gain, is_settled = _gain(given, points, points.slope if shift is None else points.slope + shift, least, rounding)
    largest = gain.max(dim=1, keepdim=True)
    is_still = ~is_stopped & (is_settled | ~has_moved)
    is_loose = is_still & (largest.values > least)
    points.is_free = points.is_free.scatter(1, largest.indices, points.is_free.gather(1, largest.indices) | is_loose)
    return (is_still & ~is_loose).squeeze(1)


def _move(given: _UnitPrograms, points: _Points, change: Tensor) -> Tensor:
    """Go as far as the first bound in the way.

    Args:
        given: The programs.
        points: Where the search stands; moved in place.
        change: The way to go if no bound stops it [block, general].

    Returns:
        Coordinates that are stopped by their bounds [block, general].
    """
    room = torch.where(change < 0, points.x, torch.inf if given.top is None else given.top - points.x)
    share = torch.where(change != 0, room / change.abs(), torch.inf)
    first = share.amin(dim=1, keepdim=True)
    x = (points.x + first.clamp(max=1.0) * change).clamp(min=0)
    is_in_the_way = (share <= first) & (first < 1.0)
    if given.top is None:
        points.x = x.masked_fill(is_in_the_way, 0.0)
    else:
        points.x = torch.where(is_in_the_way, torch.where(change < 0, 0.0, given.top), torch.minimum(x, given.top))
    points.slope = given.program.slope(points.x)
    return is_in_the_way


def _fall(before: Tensor, after: Tensor, step: Tensor, shift: Tensor | None) -> Tensor:
    """By how much a quadratic falls between two points, from its slopes there; a common shift along the sum does not count."""
    both = before + after if shift is None else before + after + 2 * shift
    return -0.5 * (both * step).sum(dim=1, keepdim=True)


def _change(given: _UnitPrograms, points: _Points) -> tuple[Tensor, Tensor | None]:
    """The way from x to the best point with the same coordinates at their bounds, and the sum's multiplier there."""
    place, n = None, points.x.shape[1]
    free, K, weight = points.is_free.to(points.x), given.program.gramian, given.weight
    right = -free * points.slope
    count = n if n <= _FEW else int(points.is_free.sum(dim=1).amax())
    if count < n:
        place = torch.argsort(points.is_free, dim=1, descending=True, stable=True)[:, :count]
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
        change = torch.zeros_like(points.x).scatter(1, place, change)
    return change, None if weight is None else solved[:, count:] / largest


def _gain(given: _UnitPrograms, points: _Points, slope: Tensor, least: Tensor, rounding: Tensor) -> tuple[Tensor, Tensor]:
    """How far u would move for each coordinate if it were released, and whether the free ones need no other solve.

    Args:
        given: The programs.
        points: Points that no bound has stopped.
        slope: Slopes with the sum's multiplier [block, general].
        least: Smallest gain that is worth a move [block, 1].
        rounding: Rounding error of the slopes [block, 1].

    Returns:
        The gains [block, general], −∞ for coordinates that are free, barred, or have no room; and the answer [block, 1].
    """
    is_settled = (slope.abs() * points.is_free).amax(dim=1, keepdim=True) <= least + rounding
    is_out = points.is_free | points.is_barred
    if given.top is None:
        return (-slope - rounding).masked_fill(is_out, -torch.inf), is_settled
    gain = torch.where(points.x >= given.top, slope, -slope) - rounding
    gain = gain / _distance_to_shortest(given, points)
    return gain.masked_fill(is_out | (given.top <= 0), -torch.inf), is_settled


def _distance_to_shortest(given: _UnitPrograms, points: _Points) -> Tensor:
    """How far u moves when a unit of a coordinate is taken from the shortest gradient whose coordinate is free."""
    assert given.weight is not None
    length_sq = (given.own_sq / given.weight.square()).masked_fill(~points.is_free, torch.inf)
    shortest = length_sq.argmin(dim=1, keepdim=True)
    share = given.weight / given.weight.gather(1, shortest)
    between = given.program.gramian.gather(2, shortest[:, :, None].expand(-1, share.shape[1], -1)).squeeze(2)
    share_sq = share.square()
    square = given.own_sq - 2 * share * between + share_sq * given.own_sq.gather(1, shortest)
    return torch.maximum(square, 1e-16 * (given.own_sq + share_sq)).clamp(min=_TINY).sqrt()
