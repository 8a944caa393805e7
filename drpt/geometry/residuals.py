"""How far coefficients are from optimal: residuals that no solver's own scaling enters.

They are formed in float64 from the inner products themselves and do not depend on the gradients' lengths, neither a block's
nor those of its examples. Let ``ℓ_i = √K_ii`` be the length of g_i and ``slope = K c − s``, so that ``slope_i = <g_i, u − v>``.

Axes: block = problems, general = examples.
"""

import torch
from jaxtyping import Float
from torch import Tensor

ACCEPTED = 1e-6  # a residual up to this is a solution
ROUNDING = 2.0**-53  # of an inner product, relative to the two lengths
VANISHED = 1e-12  # of the longest gradient: a shorter u is none


def lengths(gramian: Float[Tensor, "block general general"]) -> Float[Tensor, "block general"]:
    """``ℓ_i = √K_ii``, 0 where rounding made the square negative."""
    return torch.diagonal(gramian, dim1=1, dim2=2).clamp(min=0).sqrt()


def linear_size(
    gramian: Float[Tensor, "block general general"], linear: Float[Tensor, "block general"]
) -> Float[Tensor, " block"]:
    """``max_i |s_i|/ℓ_i``: the length of v, as far as it lies along some example.

    Args:
        gramian: K.
        linear: s.

    Returns:
        One length a block.
    """
    return _per_length(linear.abs(), lengths(gramian)).amax(dim=1)


def span_residual(
    gramian: Float[Tensor, "block general general"],
    linear: Float[Tensor, "block general"],
    coefficients: Float[Tensor, "block general"],
) -> Float[Tensor, " block"]:
    """``max_i |slope_i|/ℓ_i`` over ``max_i |s_i|/ℓ_i``: what of v lies along some g_i and is not in u.

    Args:
        gramian: K.
        linear: s.
        coefficients: c, of any sign.

    Returns:
        One number a block; infinite where one is not finite.
    """
    length = lengths(gramian)
    return _over(_per_length(_slope(gramian, linear, coefficients), length).abs().amax(dim=1), linear_size(gramian, linear))


def cone_residual(
    gramian: Float[Tensor, "block general general"],
    linear: Float[Tensor, "block general"],
    coefficients: Float[Tensor, "block general"],
) -> Float[Tensor, " block"]:
    """``max_i |x_i − max(x_i − slope_i/ℓ_i, 0)|`` over ``max_i |s_i|/ℓ_i``, with ``x_i = c_i ℓ_i``.

    How far u moves along one gradient before it is optimal along it, or out of the cone before it is in it.

    Args:
        gramian: K.
        linear: s.
        coefficients: c, at least 0.

    Returns:
        One number a block; infinite where one is not finite.
    """
    length = lengths(gramian)
    along = coefficients * length
    moved = along - (along - _per_length(_slope(gramian, linear, coefficients), length)).clamp(min=0)
    return _over(torch.maximum(moved.abs(), -along).amax(dim=1), linear_size(gramian, linear))


def hull_residual(
    gramian: Float[Tensor, "block general general"],
    linear: Float[Tensor, "block general"],
    coefficients: Float[Tensor, "block general"],
    cap: Float[Tensor, "block general"],
) -> Float[Tensor, " block"]:
    """How far u moves, at most, when weight goes from one example to another, before that is optimal.

    Weight t from j to i moves u by ``t d_ij``, ``d_ij = ‖g_i − g_j‖``. Along this line the closest point to v is
    ``(slope_j − slope_i)/d_ij`` away, and the bounds are ``min(cap_i − c_i, c_j) d_ij`` away. The smaller of the two is taken,
    the largest over all i and j, and measured by ``max(max_i |s_i|/ℓ_i, Σ c_i ℓ_i)``. Every feasible change is a sum of such
    exchanges, so that the residual is zero at the projection alone. A sum that is not 1 and coefficients out of their
    bounds count as they are. Where u and v vanish, 1e-12 of the longest gradient is what it is measured by.

    Args:
        gramian: K.
        linear: s.
        coefficients: c.
        cap: Upper bounds.

    Returns:
        One number a block; infinite where one is not finite.
    """
    length = lengths(gramian)
    slope = _slope(gramian, linear, coefficients)
    own_sq = torch.diagonal(gramian, dim1=1, dim2=2)
    between = (own_sq[:, :, None] + own_sq[:, None, :] - 2 * gramian).clamp(min=0).sqrt()
    room = torch.minimum((cap - coefficients).clamp(min=0)[:, :, None], coefficients.clamp(min=0)[:, None, :])
    gain = _per_length((slope[:, None, :] - slope[:, :, None]).clamp(min=0), between)
    moved = torch.minimum(gain, room * between).flatten(1).amax(dim=1)
    outside = torch.maximum((-coefficients).amax(dim=1), (coefficients - cap).amax(dim=1))
    outside = torch.maximum(outside, (coefficients.sum(dim=1) - 1).abs())
    size = torch.maximum(linear_size(gramian, linear), (coefficients.abs() * length).sum(dim=1))
    size = torch.maximum(size, VANISHED * length.amax(dim=1))
    return torch.maximum(_over(moved, size), _over(outside, torch.ones_like(outside)))


def worst_case_residual(
    gramian: Float[Tensor, "block general general"],
    alignment: Float[Tensor, "block general"],
    coefficients: Float[Tensor, "block general"],
    worst: Float[Tensor, " block"],
    radius: Float[Tensor, " block"],
    gap: Float[Tensor, " block"],
) -> Float[Tensor, " block"]:
    """How far ``u = v + Σ c_i g_i`` is from the best worst case μ within a ball around v, for v of length 1.

    The largest of three: how far u is out of the ball; ``max_i |x_i − max(x_i − (<u, g_i> − μ)/ℓ_i, 0)|``, ``x_i = c_i ℓ_i``;
    and how far u is from the ball's surface, unless no worst case is better. What rounding leaves open of ‖u − v‖ counts as
    out of the ball.

    Args:
        gramian: K.
        alignment: s.
        coefficients: c, at least 0.
        worst: μ.
        radius: Of the ball.
        gap: How much better than μ a worst case could be, relative to the terms of a mixture of the g_i that shows it;
            infinite where none is known.

    Returns:
        One number a block; infinite where one is not finite.
    """
    length = lengths(gramian)
    along = coefficients * length
    inner = _slope(gramian, -alignment, coefficients)
    moved = along - (along - _per_length(inner - worst[:, None], length)).clamp(min=0)
    apart = (coefficients * (inner - alignment)).sum(dim=1).clamp(min=0).sqrt()
    rounding = ROUNDING * along.square().sum(dim=1)
    outside = apart + torch.where(apart > 0, rounding / torch.where(apart > 0, apart, 1.0), 0.0) - radius
    short_of = torch.minimum((radius - apart).clamp(min=0), gap)
    residual = torch.stack([torch.maximum(moved.abs(), -along).amax(dim=1), outside, short_of, torch.zeros_like(gap)])
    return _over(residual.amax(dim=0), torch.ones_like(gap))


def _slope(gramian: Tensor, linear: Tensor, coefficients: Tensor) -> Tensor:
    return torch.bmm(gramian, coefficients[:, :, None]).squeeze(2) - linear


def _per_length(values: Tensor, length: Tensor) -> Tensor:
    """0 where the length is: no step along a gradient that vanishes moves u."""
    return torch.where(length > 0, values / torch.where(length > 0, length, 1.0), 0.0)


def _over(moved: Tensor, size: Tensor) -> Tensor:
    relative = torch.where(size > 0, moved / torch.where(size > 0, size, 1.0), torch.where(moved > 0, torch.inf, 0.0))
    return torch.where(torch.isfinite(relative), relative, torch.inf)
