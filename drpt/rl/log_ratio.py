"""Log-ratios of two models' probabilities, before they become ratios. Axes: row = responses, token = positions."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Nats: e^20 = 4.9e8. Ratios of this size, and their products with each other and with advantages, stay far below float32's
# largest number; no update worth taking has a token of such a ratio.
LARGEST_LOG_RATIO = 20.0


def ratio_of(log_ratio: Float[Tensor, "row token"]) -> Float[Tensor, "row token"]:
    """``exp(d)`` with d cut to ±20: finite whatever the probabilities are.

    Without the cut, d = 199 makes an infinite loss of a negative advantage, and NaN of one that is 0. Beyond ±20, d has no
    gradient: its token counts in the loss with the ratio e^±20 and does not move the policy, like a token that PPO's clipping
    has cut. `is_cut` marks such tokens, and the metrics count them. Source of the bound: verl, which cuts at ±20 as well.

    Args:
        log_ratio: Log-ratios d in nats [row, token]; NaN stays NaN.

    Returns:
        Dimensionless [row, token]; with gradient within ±20.
    """
    return log_ratio.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp()


def is_cut(log_ratio: Float[Tensor, "row token"]) -> Bool[Tensor, "row token"]:
    """Whether `ratio_of` cuts a log-ratio."""
    return torch.abs(log_ratio) > LARGEST_LOG_RATIO
