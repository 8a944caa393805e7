"""Projection onto the capped simplex ``{c : 0 ≤ c ≤ cap, Σ c = 1}``.

Axes: ``block`` = problems, ``general`` = coordinates.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def project_onto_capped_simplex(
    y: Float[Tensor, "block general"], cap: Float[Tensor, "block general"]
) -> Float[Tensor, "block general"]:
    """Closest point to ``y`` in ``{c : 0 ≤ c ≤ cap, Σ c = 1}``: ``clip(y − τ, 0, cap)`` for the τ that makes the sum 1.

    The sum falls piecewise linearly in τ, with kinks at ``y`` and ``y − cap``. The right τ lies between two neighbouring kinks
    and is interpolated there, exactly.

    Args:
        y: Any point [block, general].
        cap: Upper bounds [block, general] with a sum of at least 1; a sum smaller by rounding gives the caps themselves.

    Returns:
        The projection [block, general].
    """
    kinks = torch.cat([y, y - cap], dim=1).sort(dim=1, descending=True).values  # [block, 2 general]
    sums = (y[:, None, :] - kinks[:, :, None]).clamp(min=0).minimum(cap[:, None, :]).sum(dim=2)  # from 0 up to Σ cap
    after = (sums < 1).sum(dim=1, keepdim=True).clamp(min=1, max=kinks.shape[1] - 1)
    low, high = sums.gather(1, after - 1), sums.gather(1, after)
    share = torch.where(high > low, (1 - low) / torch.where(high > low, high - low, torch.ones_like(low)), torch.ones_like(low))
    before, behind = kinks.gather(1, after - 1), kinks.gather(1, after)
    tau = before + share.clamp(0, 1) * (behind - before)
    return (y - tau).clamp(min=0).minimum(cap)
