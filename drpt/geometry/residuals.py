"""How far coefficients are from optimal: residuals that neither a block's size nor the lengths of its gradients enter.

They are formed in float64 from the inner products. Let ``ℓ_i = √K_ii`` be the length of g_i, ``x_i = c_i ℓ_i``, and
``slope = K c − s``, so that ``slope_i = <g_i, u − v>``. Where a set's coefficients have no scale of their own (`cone_residual`,
`span_residual`), the caller brings the gradients to length 1 first, and of a cone the largest s_i, of a span the largest
``|s_i|``: c is x then.

Axes: block = problems, general = examples.
"""

import torch
from jaxtyping import Float
from torch import Tensor

ACCEPTED = 1e-6  # a residual up to this is a solution
ROUNDING = 2.0**-53  # of an inner product, relative to the two lengths
VANISHED = 1e-12  # of the longest gradient: a shorter u is none
_TINY = 1e-300  # keeps what is 0 from being divided by 0


def lengths(gramian: Float[Tensor, "block general general"]) -> Float[Tensor, "block general"]:
    """``ℓ_i = √K_ii``, 0 where rounding made the square negative."""
    return torch.diagonal(gramian, dim1=1, dim2=2).clamp(min=0).sqrt()


def linear_size(linear: Float[Tensor, "block general"], length: Float[Tensor, "block general"]) -> Float[Tensor, " block"]:
    """``max_i |s_i|/ℓ_i``: the length of v, as far as it lies along some example.

    Args:
        linear: s.
        length: ℓ; examples of no length are left out.

    Returns:
        One length a block.
    """
    return torch.where(length > 0, linear.abs() / length.clamp(min=_TINY), 0.0).amax(dim=1)


def span_residual(
    gramian: Float[Tensor, "block general general"],
    linear: Float[Tensor, "block general"],
    coefficients: Float[Tensor, "block general"],
) -> Float[Tensor, " block"]:
    """``max_i |slope_i|``: what of v lies along some g_i and is not in u.

    Args:
        gramian: K, of gradients of length 1.
        linear: s, of size 1.
        coefficients: c, of any sign.

    Returns:
        One number a block; NaN where c is.
    """
    return _slope(gramian, linear, coefficients).abs().amax(dim=1)


def cone_residual(
    gramian: Float[Tensor, "block general general"],
    linear: Float[Tensor, "block general"],
    coefficients: Float[Tensor, "block general"],
) -> Float[Tensor, " block"]:
    """``max_i |c_i − max(c_i − slope_i, 0)|``: how far u moves along one gradient before that is optimal, or leaves the cone.

    Args:
        gramian: K, of gradients of length 1.
        linear: s, of which the largest is 1, or none is positive.
        coefficients: c; below 0, the residual is at least as large.

    Returns:
        One number a block; NaN where c is.
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
    ``(slope_j − slope_i)/d_ij`` away, and the bounds are ``min(cap_i − c_i, c_j) d_ij`` away. The smaller of the two is taken,
    the largest over all i and j, and measured by ``max(max_i |s_i|/ℓ_i, Σ c_i ℓ_i)``. Every feasible change is a sum of such
    exchanges, so that the residual is zero at the projection alone. A sum that is not 1 and coefficients out of their
    bounds count as they are. Where u and v vanish, 1e-12 of the longest gradient is what it is measured by.

    Args:
        gramian: K, of any size, as is s.
        linear: s.
        coefficients: c.
        cap: Upper bounds.

    Returns:
        One number a block; NaN where c is.
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

    The largest of three: how far u is out of the ball; ``max_i |x_i − max(x_i − (<u, g_i> − μ)/ℓ_i, 0)|``; and how far u is
    from the ball's surface, unless no worst case is better. What rounding leaves open of ‖u − v‖ counts as out of the ball.

    Args:
        gramian: K.
        alignment: s.
        coefficients: c, at least 0.
        worst: μ.
        radius: Radius of the ball around v [block], in the gradients' unit.
        gap: How much better than μ a worst case could be, relative to the terms of a mixture of the g_i that shows it;
            infinite where none is known.

    Returns:
        One number a block; NaN where c is.
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
