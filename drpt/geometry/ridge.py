"""The ridge of `cone` and `span`: ``λ σ Σ c_i²/ω_i``, relative to the gradients' size and weighted."""

import torch
from jaxtyping import Float
from torch import Tensor


def ridged(
    gramian: Float[Tensor, "block general general"],
    alignment: Float[Tensor, "block general"],
    weights: Float[Tensor, "block general"],
    strength: float,
) -> tuple[Float[Tensor, "block general general"], Float[Tensor, "block general"]]:
    """``K + λ σ diag(1/ω)`` and s, without the examples of weight 0; ``σ = Σ ω_i ‖g_i‖²``.

    Args:
        gramian: Gramians K [block, general, general].
        alignment: Alignments s [block, general].
        weights: Base weights ω [block, general].
        strength: Ridge λ, positive and relative.

    Returns:
        The gramian with the ridge, and s, both in the gramian's dtype and zero for examples of weight 0.
    """
    omega = weights.to(gramian)
    size = torch.einsum("bii,bi->b", gramian, omega)
    takes_part = (omega > 0).to(gramian)
    ridge = strength * size[:, None] * takes_part / torch.where(omega > 0, omega, torch.ones_like(omega))
    return takes_part[:, :, None] * gramian * takes_part[:, None, :] + torch.diag_embed(ridge), takes_part * alignment
