"""Near the target gradient, the direction whose worst general example gains most."""

from dataclasses import dataclass

import torch
from torch import Tensor

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products, gramian_and_alignment
from drpt.geometry.quadratic_program import QuadraticProgram
from drpt.geometry.residuals import ROUNDING, VANISHED, lengths, worst_case_residual
from drpt.geometry.rounding import without_rounding
from drpt.geometry.solution import Solution
from drpt.geometry.solver import solve

_STEPS = 40
_REACHED = 1e-9  # relative to the radius
_SHORTEST = 3e-7  # relative to the terms of a mixture: a shorter mixture has no direction


class CAGrad(FeasibleSet):
    """CAGrad (Liu et al. 2021) around the target gradient: ``argmax_u min_i <u, g_i>  subject to  ‖u − v‖ ≤ λ ‖v‖``.

    For a worst case μ, the u closest to v with ``<u, g_i> ≥ μ`` for all i is ``v + Σ c_i g_i``, c the solution of the dual
    cone's program with ``μ − s`` for ``−s``. Its distance d(μ) from v is convex, so that Newton's steps from above find the
    μ with ``d(μ) = λ ‖v‖``. Where the hull of the g_i contains the origin no u gains on all, the best worst case is
    ``<u, g_i> ≥ 0`` with equality for some i, and of the directions that reach it the one closest to v is taken: the projection
    onto the `dual_cone`. Departure: CAGrad's centre is the mean of all tasks; here it is the target.

    Args:
        strength: λ in [0, 1], the distance from v relative to its length; `drpt.geometry.spec` checks it.
    """

    needs_products = True
    needs_gramian = True

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def project(self, rows: GeneralRows, products: Products | None, scores: object, num_blocks: int) -> Coefficients:
        """See `FeasibleSet.project`."""
        rough, rough_alignment = gramian_and_alignment(products)
        assert products is not None
        length = products.target_sq.double().clamp(min=0).sqrt()
        scale = torch.where(length > 0, length, 1.0)
        gramian, alignment = without_rounding(rough), rough_alignment.double() / scale[:, None]  # of a v of length 1
        radius = self.strength * (length > 0).double()
        found = _search(gramian, alignment, radius)
        residual = worst_case_residual(gramian, alignment, found.coefficients, found.worst, radius, found.gap)
        solved = Solution.of(scale[:, None] * found.coefficients, residual, found.num_steps)
        weights = rows.weights(num_blocks)
        return Coefficients(general=solved.coefficients.to(weights), target=weights.new_ones(num_blocks), solved=solved)


@dataclass(slots=True, kw_only=True)
class _Search:
    """Where the search for the best worst case stands; v has length 1."""

    worst: Tensor  # μ [block]
    coefficients: Tensor  # c at μ [block, general]
    distance: Tensor  # d(μ) [block]
    gap: Tensor  # bound on how much the worst case can be improved beyond 0; ∞ where none is known [block]
    num_steps: Tensor  # [block]


def _search(gramian: Tensor, alignment: Tensor, radius: Tensor) -> _Search:
    """Search for the μ with ``d(μ) = radius``; it is 0 where no u gains on all examples.

    Args:
        gramian: Gramians K [block, general, general].
        alignment: Alignments s with a v of length 1 [block, general].
        radius: Radius of the ball around v [block].

    Returns:
        The state in which the search ended.
    """
    here = _at(gramian, alignment, torch.zeros_like(radius))
    is_inside = here.distance < radius
    high = torch.where(is_inside, (alignment + radius[:, None] * lengths(gramian)).amin(dim=1), 0.0)
    low = torch.where(is_inside, 0.0, alignment.amin(dim=1))
    inside = is_inside.nonzero().squeeze(1)
    if len(inside):
        here.gap[inside], steps = _gap_at_zero(gramian[inside], alignment[inside], radius[inside])
        here.num_steps[inside] += steps
    is_under_way = (here.gap > 2 * _SHORTEST) & (radius > 0)
    for _ in range(_STEPS):
        is_under_way &= ~_is_reached(gramian, here, radius)
        todo = is_under_way.nonzero().squeeze(1)
        if len(todo) == 0:
            break
        distance = here.distance[todo]
        slope = here.coefficients[todo].sum(dim=1) / distance  # of d in μ
        newton = here.worst[todo] - (distance - radius[todo]) / slope
        middle = (low[todo] + high[todo]) / 2
        worst = torch.where(
            newton > low[todo], torch.minimum(newton, high[todo]), middle
        )  # NaN compares false and takes the middle
        found = _at(gramian[todo], alignment[todo], worst)
        is_beyond = found.distance > radius[todo]
        high[todo] = torch.where(is_beyond, worst, high[todo])
        low[todo] = torch.where(is_beyond, low[todo], worst)
        is_under_way[todo] = worst != here.worst[todo]
        here.worst[todo], here.coefficients[todo], here.distance[todo] = worst, found.coefficients, found.distance
        here.num_steps[todo] += found.num_steps
    here.coefficients = torch.where((radius > 0)[:, None], here.coefficients, 0.0)
    is_reached = _is_reached(gramian, here, radius) & (radius > 0)  # and now to the last digit
    share = torch.where(is_reached, radius / here.distance.clamp(min=1e-300), 1.0)
    here.coefficients = share[:, None] * here.coefficients
    return here


def _is_reached(gramian: Tensor, here: _Search, radius: Tensor) -> Tensor:
    """Whether d(μ) equals the radius up to rounding."""
    terms_sq = (here.coefficients.square() * torch.diagonal(gramian, dim1=1, dim2=2)).sum(dim=1)
    rounding = torch.where(here.distance > 0, ROUNDING * terms_sq / here.distance.clamp(min=1e-300), 0.0)
    return (here.distance - radius).abs() <= _REACHED * radius + rounding


def _at(gramian: Tensor, alignment: Tensor, worst: Tensor) -> _Search:
    """The u closest to v with ``<u, g_i> ≥ μ`` for all i."""
    found = solve(QuadraticProgram(gramian=gramian, linear=worst[:, None] - alignment, cap=None))
    square = torch.einsum("bi,bij,bj->b", found.coefficients, gramian, found.coefficients)
    return _Search(
        worst=worst,
        coefficients=found.coefficients,
        distance=square.clamp(min=0).sqrt(),
        gap=torch.full_like(worst, torch.inf),
        num_steps=found.num_steps,
    )


def _gap_at_zero(gramian: Tensor, alignment: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """``<g_w, v> + radius ‖g_w‖``, which no worst case exceeds, over ``Σ w_i ℓ_i``, w the mixture of the shortest g_w."""
    everyone = torch.ones_like(alignment[:1])
    found = solve(QuadraticProgram(gramian=gramian, linear=torch.zeros_like(alignment), cap=everyone))
    mixture = found.coefficients
    square = torch.einsum("bi,bij,bj->b", mixture, gramian, mixture)
    bound = (mixture * alignment).sum(dim=1) + radius * square.clamp(min=0).sqrt()
    length = lengths(gramian)
    terms = torch.maximum((mixture * length).sum(dim=1), VANISHED * length.amax(dim=1))
    return torch.where(terms > 0, bound.clamp(min=0) / torch.where(terms > 0, terms, 1.0), 0.0), found.num_steps
