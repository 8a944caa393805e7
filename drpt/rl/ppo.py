"""The losses of proximal policy optimization with a value function. Axes: row = one prompt and its response, token = positions.

The policy's part is `drpt.rl.grpo.policy_losses` with an advantage a token; the penalty towards the reference is in the
rewards (`drpt.rl.gae`), not in the loss.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.objectives.policy import ResponseTokens, counted, masked_mean
from drpt.rl.grpo import PolicyRows, PolicyTerms, policy_losses


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRows:
    """Values when the responses were drawn, and the returns that values are trained on; no gradient flows into them."""

    old_values: Float[Tensor, "row token"]  # V of the state before each token
    returns: Float[Tensor, "row token"]  # R, in the rewards' unit


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueTerms:
    """Terms of the loss besides the policy's; the configuration checks their values."""

    value_coefficient: float
    value_clip: float | None  # largest change of V before its loss is flat; None = any
    entropy_coefficient: float


def value_errors(values: Float[Tensor, "row token"], rows: ValueRows, clip: float | None) -> Float[Tensor, "row token"]:
    """``½ max((V − R)², (V_clip − R)²)`` with ``V_clip = V_old + clamp(V − V_old, ±clip)``.

    The larger of the two: a value that has moved by more than the clip gets no gradient for moving on towards R, and the full
    one for coming back. Source: OpenAI's implementation of PPO, described by Huang et al. 2022, "The 37 Implementation
    Details of Proximal Policy Optimization", detail 9; the paper itself (arXiv 1707.06347, eq. 9) has the squared error alone.

    Args:
        values: Values V [row, token], with gradient.
        rows: Old values and returns of the same rows.
        clip: Largest change of a value before its loss is flat; None for the squared error alone.

    Returns:
        Squares of the rewards' unit [row, token].
    """
    returns, old = rows.returns.to(values), rows.old_values.to(values)
    errors = (values - returns).square()
    if clip is not None:
        errors = torch.maximum(errors, (old + (values - old).clamp(-clip, clip) - returns).square())
    return 0.5 * errors


def ppo_losses(
    tokens: ResponseTokens,
    values: Float[Tensor, "row token"],
    policy: PolicyRows,
    value: ValueRows,
    terms: PolicyTerms,
    value_terms: ValueTerms,
) -> Float[Tensor, " row"]:
    """Each row's mean over its tokens of the policy's loss, ``+ c_v ·`` the value's and ``− c_e ·`` the entropy.

    Source: Schulman et al. 2017 (arXiv 1707.06347, eq. 9).

    Args:
        tokens: Log-probabilities with gradient; entropies with gradient where their coefficient is not 0.
        values: Values V of the state before each token [row, token], with gradient.
        policy: Fixed quantities of the policy's loss for the same rows.
        value: Old values and returns of the same rows.
        terms: Terms of the policy's loss.
        value_terms: Terms of the value function's loss and of the entropy bonus.

    Returns:
        Loss of each row [row]; 0 for a row without response tokens.
    """
    losses = policy_losses(tokens.logprobs, policy, terms)
    # Masked before the difference: in the backward pass 0 times a NaN would reach the trunk.
    errors = value_errors(torch.where(counted(policy.response_mask), values, 0.0), value, value_terms.value_clip)
    losses = losses + value_terms.value_coefficient * masked_mean(errors, policy.response_mask)
    if value_terms.entropy_coefficient:
        losses = losses - value_terms.entropy_coefficient * masked_mean(tokens.entropies, policy.response_mask)
    return losses
