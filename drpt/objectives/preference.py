"""The loss of a preference: how unlikely a score finds that the chosen response was chosen."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def bradley_terry_losses(margins: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
    """``−log σ(r_chosen − r_rejected)`` of each pair; finite for margins of any size.

    Source: Bradley & Terry (1952); as the loss of a reward model, Christiano et al. (2017), eq. 1. Departure: all labels are
    taken as certain, without their constant share of random ones.

    Args:
        margins: ``r_chosen − r_rejected``, in nats.

    Returns:
        Nats a pair [pair]; log 2 where the scores are equal.
    """
    # −log σ(x) = log(1 + exp(−x)), which torch computes without overflow.
    return F.softplus(-margins)
