"""From a response's score to an advantage for each of its tokens. Axes: row = one prompt and its response, token = positions.

Entry t is about token t and the state before it; tokens that do not count (see `drpt.objectives.policy`) are 0. A response's
counted tokens are one run without gaps: an episode that ends with the last of them, by itself or by its length.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from drpt.objectives.policy import counted

WHITENING_EPSILON = 1e-8  # of the variance: keeps the quotient bounded where all values are alike


def token_rewards(
    scores: Float[Tensor, " row"], penalties: Float[Tensor, "row token"], response_mask: Bool[Tensor, "row token"]
) -> Float[Tensor, "row token"]:
    """``r_t = −penalty_t``, and at the response's last token its score besides.

    Source: the reward of Ziegler et al. 2019 (arXiv 1909.08593, eq. 2), spread over tokens: the penalty ``β · kl_t`` of each
    where it is incurred.

    Args:
        scores: Scores of whole responses [row]; higher is better.
        penalties: Penalties ``β · kl_t`` [row, token]; not looked at where the mask is not set.
        response_mask: Marks the tokens that the policy drew [row, token].

    Returns:
        Rewards [row, token], in the scores' unit; 0 elsewhere. A row without tokens has none, its score included.
    """
    counts = counted(response_mask)
    return torch.where(counts, -penalties, 0.0) + torch.where(_last(counts), scores[:, None], 0.0)


def generalized_advantages(
    rewards: Float[Tensor, "row token"],
    values: Float[Tensor, "row token"],
    response_mask: Bool[Tensor, "row token"],
    *,
    discount: float,
    gae_lambda: float,
) -> Float[Tensor, "row token"]:
    """``A_t = Σ_l (γλ)^l δ_{t+l}`` with ``δ_t = r_t + γ V_{t+1} − V_t``, and V = 0 after the last token.

    ``A_t + V_t`` is the return that the value function is trained on: with λ = 1 the discounted sum of rewards to come, with
    λ = 0 ``r_t + γ V_{t+1}``. Source: Schulman et al. 2016 (arXiv 1506.02438, eq. 16). Departure: an answer that its length cut
    ends like any other, since its score is that of the text as it is.

    Args:
        rewards: Rewards r of the tokens, as `token_rewards` gives them.
        values: Values V of the state before each token [row, token]; not looked at where the mask is not set.
        response_mask: Marks the tokens that the policy drew [row, token].
        discount: Discount γ in [0, 1].
        gae_lambda: Decay λ in [0, 1].

    Returns:
        Advantages [row, token], in the rewards' unit; 0 elsewhere.
    """
    counts = counted(response_mask)
    known = torch.where(counts, values, 0.0)
    advantages = torch.zeros_like(known)
    following, value_after = known.new_zeros(len(known)), known.new_zeros(len(known))
    for t in range(known.shape[1] - 1, -1, -1):
        surprise = rewards[:, t] + discount * value_after - known[:, t]
        following = torch.where(counts[:, t], surprise + discount * gae_lambda * following, 0.0)
        value_after = known[:, t]
        advantages[:, t] = following
    return advantages


def whitened(
    values: Float[Tensor, "row token"], response_mask: Bool[Tensor, "row token"], *, shifts: bool
) -> Float[Tensor, "row token"]:
    """Values of variance 1 over all counted tokens together, and of mean 0 where they are shifted.

    The variance is the one over N − 1, as open implementations compute it. Fewer than two tokens stay as they are.

    Args:
        values: Numbers to whiten [row, token]; not looked at where the mask is not set.
        response_mask: Marks the tokens that the policy drew [row, token].
        shifts: Whether the mean is subtracted; if not, it stays what it was before the division.

    Returns:
        Dimensionless [row, token]; 0 elsewhere.
    """
    counts = counted(response_mask)
    flat = values[counts]
    if len(flat) < 2:
        return torch.where(counts, values, 0.0)
    mean = flat.mean()
    scaled = (values - mean) * (flat.var() + WHITENING_EPSILON).rsqrt()
    return torch.where(counts, scaled if shifts else scaled + mean, 0.0)


def explained_variance(
    values: Float[Tensor, "row token"], returns: Float[Tensor, "row token"], response_mask: Bool[Tensor, "row token"]
) -> float:
    """``1 − Var(R − V) / Var(R)`` over the counted tokens: 1 = exact predictions, 0 = no better than the mean.

    Args:
        values: Values V when the responses were drawn [row, token].
        returns: Returns R that the values are trained on [row, token].
        response_mask: Marks the tokens that the policy drew [row, token].

    Returns:
        At most 1; NaN where the returns do not vary.
    """
    counts = counted(response_mask)
    known, wanted = values[counts].double(), returns[counts].double()
    if len(wanted) < 2 or float(wanted.var()) == 0.0:
        return float("nan")
    return float(1 - (wanted - known).var() / wanted.var())


def _last(counts: Bool[Tensor, "row token"]) -> Bool[Tensor, "row token"]:
    """Marks each row's last counted token."""
    later = counts.flip(1).cumsum(1).flip(1)  # counted tokens from here on
    return counts & (later == 1)
