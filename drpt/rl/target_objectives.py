"""Objectives over target responses, whose gradient is v. Axes: row = one prompt and its response, token = positions.

Each is ``scale · Σ_i ω_i · loss_i`` over *all* M target responses, so that a caller can go through them in
micro-batches: `target_row_weights` gives ω and scale once, from the token counts of all of them, and `target_losses` the losses
of one micro-batch.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drpt.objectives.policy import counted, masked_mean, masked_sum
from drpt.rl.choices import Normalisation, TargetObjective
from drpt.rl.grpo import PolicyRows, PolicyTerms, policy_losses
from drpt.rl.normalisation import RowWeights, row_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRows:
    """A micro-batch of target responses."""

    policy: PolicyRows
    rewards: Float[Tensor, " row"]  # r̃: after `pool_normalised` over all M responses, not over this micro-batch


def target_losses(
    objective: TargetObjective, logprobs: Float[Tensor, "row token"], rows: TargetRows, terms: PolicyTerms
) -> Float[Tensor, " row"]:
    """Losses of a micro-batch's rows; each objective has its own unit.

    With T_i response tokens in row i and log-probabilities in nats:

    - ``reward``: ``−r̃_i Σ_t log π(y_it)``, nats a response; see `reward_losses`. ω_i = 1/M, scale 1.
    - ``token_pg``: ``−(1/T_i) Σ_t A_it log π(y_it)``, nats a token; see `token_pg_losses`. ω_i = 1/M, scale 1.
    - ``train_loss``: what `policy_losses` gives, the penalty included, a token mean. ω and scale are those of training.
    - ``train_loss_preclip``: the same with ``−ρ A`` instead of the clipped minimum. ω and scale are those of training, too.

    Responses that the current weights drew have ρ = 1: clipping does not bind, both training losses have the same gradient,
    and with ``sequence`` and neither penalty nor engine weights it is ``token_pg``'s. They differ on responses that were
    drawn some updates ago. Source: Dr. Post-Training (Hu et al. 2026, arXiv 2605.07063). Departure: its code for RLVR divides
    ``reward`` by all response tokens instead of M in later versions, which changes v's length, not its direction.

    Args:
        objective: Objective to compute.
        logprobs: Log-probabilities ``log π`` of the tokens in nats, with gradient, as `response_tokens` gives them.
        rows: Fixed quantities of the same rows.
        terms: Terms of the training loss, used by the two training losses alone.

    Returns:
        Loss of each row [row]; 0 for a row without response tokens.
    """
    if objective == TargetObjective.REWARD:
        return reward_losses(logprobs, rows.rewards, rows.policy.response_mask)
    if objective == TargetObjective.TOKEN_PG:
        advantages = rows.policy.token_advantages.expand_as(logprobs)
        return token_pg_losses(logprobs, advantages, rows.policy.response_mask)
    if objective == TargetObjective.TRAIN_LOSS_PRECLIP:
        terms = without_clipping(terms)
    return policy_losses(logprobs, rows.policy, terms)


def without_clipping(terms: PolicyTerms) -> PolicyTerms:
    """The same terms with ``−ρ A`` instead of the clipped minimum."""
    return replace(terms, clip_low=math.inf, clip_high=math.inf)


def target_row_weights(
    objective: TargetObjective, num_tokens: Int[Tensor, " row"], normalisation: Normalisation, *, max_tokens: int
) -> RowWeights:
    """How much the rows of `target_losses` weigh in the objective.

    Args:
        objective: Objective to compute.
        num_tokens: Token counts T_i of *all* M target responses, over micro-batches and processes.
        normalisation: Normalisation of the training loss, used by the two training losses alone.
        max_tokens: Tokens of the longest response allowed, used like ``normalisation``.

    Returns:
        ω, sum 1, in the rows' order, and the scale; 1/M and 1 for ``reward`` and ``token_pg``.
    """
    is_training = objective in {TargetObjective.TRAIN_LOSS, TargetObjective.TRAIN_LOSS_PRECLIP}
    kind = normalisation if is_training else Normalisation.SEQUENCE
    return row_weights(num_tokens, kind, max_tokens=max_tokens)


def reward_losses(
    logprobs: Float[Tensor, "row token"], rewards: Float[Tensor, " row"], response_mask: Bool[Tensor, "row token"]
) -> Float[Tensor, " row"]:
    """``−r̃_i Σ_t log π(y_it)``: their mean over responses is REINFORCE with rewards normalised over the whole pool.

    A sum over tokens, not a mean: the log-probability of a response is one, and long responses have larger gradients.

    Args:
        logprobs: Log-probabilities ``log π`` of the tokens in nats, with gradient.
        rewards: Normalised rewards r̃ [row], as `pool_normalised` gives them.
        response_mask: Marks the tokens that the policy drew [row, token].

    Returns:
        Nats a response, times r̃'s unit [row]; 0 for a row without response tokens.
    """
    return -rewards.detach().to(logprobs) * masked_sum(logprobs, response_mask)


def token_pg_losses(
    logprobs: Float[Tensor, "row token"],
    advantages: Float[Tensor, "row token"],
    response_mask: Bool[Tensor, "row token"],
) -> Float[Tensor, " row"]:
    """``−(1/T_i) Σ_t A_it log π(y_it)``: the policy gradient with token-wise advantages, neither ratio nor clipping.

    Args:
        logprobs: Log-probabilities ``log π`` of the tokens in nats, with gradient.
        advantages: Advantages A of the tokens [row, token]; not looked at where the mask is not set.
        response_mask: Marks the tokens that the policy drew [row, token].

    Returns:
        Nats a token, times A's unit [row]; 0 for a row without response tokens.
    """
    # Masked before the product: in the backward pass 0 times a NaN would reach the logits.
    known = torch.where(counted(response_mask), advantages.detach().to(logprobs), 0.0)
    return -masked_mean(known * logprobs, response_mask)
