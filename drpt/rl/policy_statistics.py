"""What a policy update did, as sums over response tokens that add up over batches and processes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.objectives.policy import ResponseTokens, counted
from drpt.rl.grpo import (
    PolicyRows,
    PolicyTerms,
    engine_log_ratios,
    policy_log_ratios,
    reference_log_ratios,
)
from drpt.rl.kl import k3
from drpt.rl.log_ratio import LARGEST_LOG_RATIO, is_cut, ratio_of

TOKENS = "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStatistics:
    """Sums by name, in the same order for the same kind of rows; `policy_statistics` explains each."""

    sums: dict[str, Float[Tensor, ""]]  # float64, on the rows' device, so that nothing waits for it

    def __add__(self, other: "PolicyStatistics") -> "PolicyStatistics":
        """Sums over the rows of both.

        Args:
            other: Statistics of other rows, or of the same rows at another update.

        Returns:
            The sums of the sums.

        Raises:
            ValueError: They are not of the same quantities.
        """
        if self.sums.keys() != other.sums.keys():
            names = ", ".join(sorted(self.sums.keys() ^ other.sums.keys()))
            raise ValueError(f"statistics of different quantities do not add up: {names} on one side alone.")
        return PolicyStatistics(sums={name: total + other.sums[name] for name, total in self.sums.items()})

    def means(self) -> dict[str, float]:
        """Mean over tokens of each quantity, the number of tokens left out; 0 where there was no token."""
        num_tokens = max(float(self.sums[TOKENS]), 1.0)
        return {name: float(total) / num_tokens for name, total in self.sums.items() if name != TOKENS}

    @property
    def num_tokens(self) -> int:
        """Number of response tokens that were counted."""
        return int(self.sums[TOKENS])


@torch.no_grad()
def policy_statistics(tokens: ResponseTokens, rows: PolicyRows, terms: PolicyTerms) -> PolicyStatistics:
    """Sums over the response tokens of quantities that show how training goes; without gradient, in float64.

    - ``tokens``: 1.
    - ``ratio``: ``ρ = π/π_old``; its mean is near 1.
    - ``log_ratio_cut``: a log-ratio is beyond ±20, so that the loss cuts it and the token has no gradient by it: that of ρ;
      that of k3, above 20, if the reference is there; that of the engine's weight, if there is a cap.
    - ``clipped_low``, ``clipped_high``: clipping takes the gradient away: A < 0 and ρ < 1 − low; A > 0 and ρ > 1 + high.
    - ``kl_old``: k3 of KL(π_old‖π), nats. Its tokens were drawn from π_old.
    - ``entropy``: of π, nats.
    - ``kl_reference``, if the reference is there: ``ρ k3`` of KL(π‖ref), nats.
    - ``engine_difference``, if the engine's log-probabilities are there: ``|log π_old − log π_engine|``, nats; and
      ``engine_capped``: whether the cap cut its weight (0 without a cap).

    Args:
        tokens: Log-probabilities and entropies of the policy.
        rows: Fixed quantities of the same rows.
        terms: Terms of the loss that the rows are trained with.

    Returns:
        The sums; add those of other batches, then ask for means.
    """
    log_ratio = policy_log_ratios(tokens.logprobs, rows)
    ratio, advantages, beyond = ratio_of(log_ratio), rows.token_advantages, is_cut(log_ratio)
    values = {
        TOKENS: torch.ones_like(ratio),
        "ratio": ratio,
        "clipped_low": (advantages < 0) & (ratio < 1 - terms.clip_low),
        "clipped_high": (advantages > 0) & (ratio > 1 + terms.clip_high),
        "kl_old": k3(log_ratio),
        "entropy": tokens.entropies,
    }
    if rows.reference_logprobs is not None:
        towards = reference_log_ratios(tokens.logprobs, rows)
        values["kl_reference"] = ratio * k3(towards)
        beyond = beyond | (towards > LARGEST_LOG_RATIO)
    if rows.engine_logprobs is not None:
        difference = engine_log_ratios(rows)
        cap = torch.inf if terms.importance_cap is None else terms.importance_cap
        values |= {"engine_difference": difference.abs(), "engine_capped": ratio_of(difference) > cap}
        if terms.importance_cap is not None:
            beyond = beyond | is_cut(difference)
    values["log_ratio_cut"] = beyond
    mask = counted(rows.response_mask)
    return PolicyStatistics(sums={name: torch.where(mask, value.double(), 0.0).sum() for name, value in values.items()})
