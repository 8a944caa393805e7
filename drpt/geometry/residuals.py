"""How far coefficients are from optimal: residuals that depend neither on a block's size nor on the lengths of its gradients.

They are computed in float64 from the inner products. Let ``ℓ_i = √K_ii`` be the length of g_i, ``x_i = c_i ℓ_i``, and
``slope = K c − s``, so that ``slope_i = <g_i, u − v>``. Where a set's coefficients have no scale of their own (`cone_residual`,
`span_residual`), the caller first scales the gradients to length 1, and for a cone the largest s_i to 1, for a span the
largest ``|s_i|``; c then equals x.

Axes: block = problems, general = examples.
"""

import torch
from jaxtyping import Float
from torch import Tensor

ACCEPTED = 1e-6  # a residual up to this is a solution
ROUNDING = 2.0**-53  # rounding error of an inner product, relative to the two lengths
VANISHED = 1e-12  # relative to the longest gradient: a shorter u counts as zero
_TINY = 1e-300  # keeps 0 from being divided by 0


def lengths(gramian: Float[Tensor, "block general general"]) -> Float[Tensor, "block general"]:
    """``ℓ_i = √K_ii``, 0 where rounding made the square negative."""
    return torch.diagonal(gramian, dim1=1, dim2=2).clamp(min=0).sqrt()


def linear_size(linear: Float[Tensor, "block general"], length: Float[Tensor, "block general"]) -> Float[Tensor, " block"]:
    """``max_i |s_i|/ℓ_i``: the length of v, as far as it lies along some example.

    Args:
        linear: Linear term s [block, general].
        length: Lengths ℓ of the gradients [block, general]; examples of length 0 are left out.

    Returns:
        Size of s in each block [block], in the unit of the gradients.
    """
    return torch.where(length > 0, linear.abs() / length.clamp(min=_TINY), 0.0).amax(dim=1)


def span_residual(
    gramian: Float[Tensor, "block general general"],
    linear: Float[Tensor, "block general"],
    coefficients: Float[Tensor, "block general"],
) -> Float[Tensor, " block"]:
    """``max_i |slope_i|``: the largest component of v along some g_i that u lacks.

    Args:
        gramian: Gramian K of gradients of length 1.
        linear: Linear term s, scaled to size 1.
        coefficients: Coefficients c of any sign.

    Returns:
        One number for each block [block]; NaN where c is NaN.
    """
    return _slope(gramian, linear, coefficients).abs().amax(dim=1)


def cone_residual(
    gramian: Float[Tensor, "block general general"],
    linear: Float[Tensor, "block general"],
    coefficients: Float[Tensor, "block general"],
) -> Float[Tensor, " block"]:
    """``max_i |c_i − max(c_i − slope_i, 0)|``: how far u moves along one gradient before that is optimal, or leaves the cone.

    Args:
        gramian: Gramian K of gradients of length 1.
        linear: Linear term s, whose largest entry is 1 or none is positive.
        coefficients: Coefficients c; the residual is at least as large as the largest violation of c ≥ 0.

    Returns:
        One number for each block [block]; NaN where c is NaN.
    """
    moved = coefficients - (coefficients - _slope(gramian, linear, coefficients)).clamp(min=0)
    return torch.maximum(moved.abs(), -coefficients).amax(dim=1)


def hull_residual(
    gramian: Float[Tensor, "block general general"],
    linear: Float[Tensor, "block general"],
    coefficients: Float[Tensor, "block general"],
    cap: Float[Tensor, "block general"],
) -> Float[Tensor, " block"]:
    """How far u moves, at most, when weight goes from one example to another, before that is optimal.

    Weight t from j to i moves u by ``t d_ij``, ``d_ij = ‖g_i − g_j‖``. Along this line the closest point to v is
    ``(slope_j − slope_i)/d_ij`` away, and the bounds are ``min(cap_i − c_i, c_j) d_ij`` away. The residual is the smaller of
    the two, the largest over all i and j, relative to ``max(max_i |s_i|/ℓ_i, Σ c_i ℓ_i)``. Every feasible change is a sum of
    such exchanges, so the residual is zero at the projection alone. A sum other than 1 and coefficients out of their bounds
    count by their excess. Where u and v vanish, the residual is relative to 1e-12 of the longest gradient.

    Args:
        gramian: Gramian K of any scale.
        linear: Linear term s of any scale.
        coefficients: Coefficients c.
        cap: Upper bounds of the coefficients.

    Returns:
        One number for each block [block]; NaN where c is NaN.
    """
    slope, own_sq = _slope(gramian, linear, coefficients), torch.diagonal(gramian, dim1=1, dim2=2)
    between = (own_sq[:, :, None] + own_sq[:, None, :] - 2 * gramian).clamp(min=0).sqrt()
    above, below = cap - coefficients, coefficients.clamp(min=0)
    room = torch.minimum(above.clamp(min=0)[:, :, None], below[:, None, :])
    gain = (slope[:, None, :] - slope[:, :, None]).clamp(min=0) / between.clamp(min=_TINY)
    moved = torch.minimum(gain, room * between).flatten(1).amax(dim=1)
    length = own_sq.clamp(min=0).sqrt()
    size = torch.maximum(linear_size(linear, length), (below * length).sum(dim=1))
    size = torch.maximum(size, VANISHED * length.amax(dim=1))
    outside = torch.maximum((below - coefficients).amax(dim=1), -above.amin(dim=1))
    outside = torch.maximum(outside, (coefficients.sum(dim=1) - 1).abs())
    return torch.maximum(moved / size.clamp(min=_TINY), outside)


def worst_case_residual(
    gramian: Float[Tensor, "block general general"],
    alignment: Float[Tensor, "block general"],
    coefficients: Float[Tensor, "block general"],
    worst: Float[Tensor, " block"],
    radius: Float[Tensor, " block"],
    gap: Float[Tensor, " block"],
) -> Float[Tensor, " block"]:
    """How far ``u = v + Σ c_i g_i`` is from the best worst case μ within a ball around v, for v of length 1.

    It is the largest of three: how far u is out of the ball; ``max_i |x_i − max(x_i − (<u, g_i> − μ)/ℓ_i, 0)|``; and how far
    u is from the ball's surface, unless no worst case is better. The rounding error of ‖u − v‖ counts as out of the ball.

    Args:
        gramian: Gramian K.
        alignment: Alignments s with a v of length 1.
        coefficients: Coefficients c, at least 0.
        worst: Worst case μ [block].
        radius: Radius of the ball around v [block].
        gap: Bound on how much better than μ a worst case can be [block], relative to the terms of the mixture of the g_i that
            shows it; infinite where no bound is known.

    Returns:
        One number for each block [block]; NaN where c is NaN.
    """
    length = lengths(gramian)
    along = coefficients * length
    inner = _slope(gramian, -alignment, coefficients)
    slack = torch.where(length > 0, (inner - worst[:, None]) / length.clamp(min=_TINY), 0.0)
    moved = torch.maximum((along - (along - slack).clamp(min=0)).abs(), -along).amax(dim=1)
    apart = (coefficients * (inner - alignment)).sum(dim=1).clamp(min=0).sqrt()
    outside = apart + ROUNDING * along.square().sum(dim=1) / apart.clamp(min=_TINY) - radius
    short_of = torch.minimum((radius - apart).clamp(min=0), gap)
    return torch.maximum(torch.maximum(moved, outside), short_of)


def _slope(gramian: Tensor, linear: Tensor, coefficients: Tensor) -> Tensor:
    return torch.bmm(gramian, coefficients[:, :, None]).squeeze(2) - linear
