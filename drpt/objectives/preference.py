"""The Bradley–Terry loss, by which reward models learn from preferences."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def bradley_terry_losses(margins: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
    """``−log σ(r_chosen − r_rejected)`` of each pair; finite for margins of any size.

    Source: Bradley & Terry (1952); as the loss of a reward model, Christiano et al. (2017), eq. 1. Departure: labels are
    taken as certain, whereas Christiano et al. assume that a constant share of them is random.

    Args:
        margins: Score differences ``r_chosen − r_rejected`` [pair], in nats.

    Returns:
        Losses of the pairs [pair], in nats; log 2 where the scores are equal.
    """
    # −log σ(x) = log(1 + exp(−x)), which torch computes without overflow.
    return F.softplus(-margins)
