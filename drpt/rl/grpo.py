"""The policy loss of GRPO and its relatives. Axes: row = one prompt and its response, token = positions.

Which algorithm it is depends on the arguments: how advantages compare rewards (`group_advantages`), how rows are weighted
(`row_weights`), two bounds of the ratio (PPO, DAPO), the weights between engine and trainer, and the penalty.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from drpt.objectives.policy import counted, masked_mean
from drpt.rl.choices import KlGradient
from drpt.rl.kl import weighted_k3
from drpt.rl.log_ratio import ratio_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRows:
    """Quantities of responses that stay fixed while a phase is trained on; no gradient flows into them."""

    old_logprobs: Float[Tensor, "row token"]  # nats, by the trainer with the weights that the responses were drawn with
    advantages: Float[Tensor, " row"] | Float[Tensor, "row token"]  # one for all tokens of a row, or one a token
    response_mask: Bool[Tensor, "row token"]  # the policy drew the token
    engine_logprobs: Float[Tensor, "row token"] | None = None  # nats, by the engine that drew the tokens, when it did
    reference_logprobs: Float[Tensor, "row token"] | None = None  # nats, by the reference model

    @property
    def token_advantages(self) -> Float[Tensor, "row any"]:
        """Advantages of the tokens, or one column for all tokens of a row; meaningless where the mask is not set."""
        return self.advantages if self.advantages.ndim == 2 else self.advantages[:, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTerms:
    """Terms of the policy's loss; the configuration checks their values."""

    clip_low: float  # the ratio is clipped at 1 − clip_low; math.inf = not
    clip_high: float  # and at 1 + clip_high; math.inf = not
    importance_cap: float | None  # largest weight between engine and trainer; None = all 1
    kl_coefficient: float  # β, of the penalty towards the reference; 0 = none
    kl_gradient: KlGradient  # what of the penalty is differentiated


def policy_losses(logprobs: Float[Tensor, "row token"], rows: PolicyRows, terms: PolicyTerms) -> Float[Tensor, " row"]:
    """Each row's mean over its response tokens of ``w_t · (−min(ρ_t A, clip(ρ_t, 1 − low, 1 + high) A) + β ρ_t k3_t)``.

    ``ρ_t = π(y_t)/π_old(y_t)``, A the row's or the token's advantage. Sources: the clipped objective of PPO (Schulman et al.
    2017, arXiv 1707.06347, eq. 7) with GRPO's advantages and penalty (Shao et al. 2024, arXiv 2402.03300, eq. 3); two bounds of
    their own, "clip-higher", are DAPO's (Yu et al. 2025, arXiv 2503.14476). For w_t see `engine_weights`, for ``ρ_t k3_t``
    `weighted_k3`.

    Log-ratios are cut to ±20 (`ratio_of`), so that the loss of every token is finite: beyond, the token has no gradient.

    Departures: the penalty is weighted by ρ_t, GRPO's own is not; and w_t weighs the penalty, too, since it is a mean over the
    same tokens that the engine drew. Losses go downhill; rows are not weighted here (`row_weights`).

    Args:
        logprobs: Log-probabilities ``log π`` of the tokens in nats, with gradient, as `response_tokens` gives them.
        rows: Fixed quantities of the same rows; not looked at where the mask is not set.
        terms: Terms of the loss.

    Returns:
        Loss of each row [row]; 0 for a row without response tokens.

    Raises:
        ValueError: A term needs log-probabilities that the rows lack.
    """
    _check(rows, terms)
    log_ratio = policy_log_ratios(logprobs, rows)
    # Masked before the product, like the log-ratio: 0 times a NaN would reach the logits.
    advantages = torch.where(counted(rows.response_mask), rows.token_advantages.detach().to(log_ratio), 0.0)
    ratio = ratio_of(log_ratio)
    clipped = ratio.clamp(1 - terms.clip_low, 1 + terms.clip_high)
    losses = -torch.minimum(ratio * advantages, clipped * advantages)
    if terms.kl_coefficient != 0:
        towards = reference_log_ratios(logprobs, rows)
        losses = losses + terms.kl_coefficient * weighted_k3(log_ratio, towards, terms.kl_gradient)
    if terms.importance_cap is not None:
        losses = losses * engine_weights(rows, terms.importance_cap)
    return masked_mean(losses, rows.response_mask)


def policy_log_ratios(logprobs: Float[Tensor, "row token"], rows: PolicyRows) -> Float[Tensor, "row token"]:
    """``log π − log π_old`` where the mask is set, else 0; nats, with gradient through π."""
    return torch.where(counted(rows.response_mask), logprobs - rows.old_logprobs.detach(), 0.0)


def reference_log_ratios(logprobs: Float[Tensor, "row token"], rows: PolicyRows) -> Float[Tensor, "row token"]:
    """``log ref − log π`` where the mask is set, else 0; nats, with gradient through π. The reference must be there."""
    assert rows.reference_logprobs is not None
    return torch.where(counted(rows.response_mask), rows.reference_logprobs.detach() - logprobs, 0.0)


def engine_log_ratios(rows: PolicyRows) -> Float[Tensor, "row token"]:
    """``log π_old − log π_engine`` where the mask is set, else 0; nats. The engine's log-probabilities must be there."""
    assert rows.engine_logprobs is not None
    return torch.where(counted(rows.response_mask), rows.old_logprobs - rows.engine_logprobs, 0.0).detach()


def engine_weights(rows: PolicyRows, cap: float) -> Float[Tensor, "row token"]:
    """Truncated importance weights ``min(π_old(y_t)/π_engine(y_t), cap)``, without gradient; 1 where the mask is not set.

    The engine computes with the trainer's weights but other kernels and often in lower precision, so that its tokens come
    from a slightly different policy. The cap trades a bias for a bounded variance. Source: Yao et al. 2025, "Your Efficient RL
    Framework Secretly Brings You Off-Policy RL Training", truncated importance sampling (TIS), a weight a token.

    The log-ratio is cut to ±20 before, see `ratio_of`; a cap above e^20 is never reached.

    Args:
        rows: Fixed quantities of the rows, with the engine's log-probabilities.
        cap: Largest weight; at least 1, or tokens that agree are scaled down. Not checked.

    Returns:
        Dimensionless [row, token].
    """
    return ratio_of(engine_log_ratios(rows)).clamp(max=cap)


def _check(rows: PolicyRows, terms: PolicyTerms) -> None:
    if terms.kl_coefficient != 0 and rows.reference_logprobs is None:
        raise ValueError(
            f"kl_coefficient={terms.kl_coefficient} needs the reference's log-probabilities (reference_logprobs); "
            "give them, or set it to 0."
        )
    if terms.importance_cap is not None and rows.engine_logprobs is None:
        raise ValueError(
            f"importance_cap={terms.importance_cap} needs the engine's log-probabilities (engine_logprobs); "
            "give them, or set it to null."
        )
