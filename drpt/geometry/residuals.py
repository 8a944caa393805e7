"""How far coefficients are from optimal: residuals that no solver's own scaling enters.

They are formed in float64 from the inner products themselves and do not depend on the gradients' lengths, neither a block's
nor those of its examples. Let ``ℓ_i = √K_ii`` be the length of g_i and ``slope = K c − s``, so that ``slope_i = <g_i, u − v>``.

Axes: block = problems, general = examples.
"""

import torch
from jaxtyping import Float
from torch import Tensor

ACCEPTED = 1e-6  # a residual up to this is a solution
_VANISHED = 1e-12  # of the longest gradient: a shorter u is none


def lengths(gramian: Float[Tensor, "block general general"]) -> Float[Tensor, "block general"]:
    """``ℓ_i = √K_ii``, 0 where rounding made the square negative."""
    return torch.diagonal(gramian, dim1=1, dim2=2).clamp(min=0).sqrt()


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
    return _over(_per_length(_slope(gramian, linear, coefficients), length).abs().amax(dim=1), _size(linear, length))


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
    return _over(torch.maximum(moved.abs(), -along).amax(dim=1), _size(linear, length))


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
    size = hull_size(gramian, linear, coefficients)
    return torch.maximum(_over(moved, size), _over(outside, torch.ones_like(outside)))


def hull_size(
    gramian: Float[Tensor, "block general general"],
    linear: Float[Tensor, "block general"],
    coefficients: Float[Tensor, "block general"],
) -> Float[Tensor, " block"]:
    """The length that `hull_residual` measures by: of v along some example, and of the terms of u.

    Args:
        gramian: K.
        linear: s.
        coefficients: c.

    Returns:
        One length a block, 0 where all gradients vanish.
    """
    length = lengths(gramian)
    size = torch.maximum(_size(linear, length), (coefficients.abs() * length).sum(dim=1))
    return torch.maximum(size, _VANISHED * length.amax(dim=1))


def _slope(gramian: Tensor, linear: Tensor, coefficients: Tensor) -> Tensor:
    return torch.bmm(gramian, coefficients[:, :, None]).squeeze(2) - linear


def _size(linear: Tensor, length: Tensor) -> Tensor:
    """``max_i |s_i|/ℓ_i``: the length of v, as far as it lies along some example."""
    return _per_length(linear.abs(), length).amax(dim=1)


def _per_length(values: Tensor, length: Tensor) -> Tensor:
    """0 where the length is: no step along a gradient that vanishes moves u."""
    return torch.where(length > 0, values / torch.where(length > 0, length, 1.0), 0.0)


def _over(moved: Tensor, size: Tensor) -> Tensor:
    relative = torch.where(size > 0, moved / torch.where(size > 0, size, 1.0), torch.where(moved > 0, torch.inf, 0.0))
    return torch.where(torch.isfinite(relative), relative, torch.inf)
