"""The policy's loss on rows of experience, and the target objective's gradient: `drpt.objectives` applied to batches."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from drpt.data.batch import TokenBatch
from drpt.modules.algorithm_spec import AlgorithmSpec
from drpt.modules.experience import Experience, aligned
from drpt.modules.scoring import in_batches, score_batch
from drpt.objectives.advantages import pool_normalised
from drpt.objectives.choices import KlGradient, Normalisation, TargetObjective
from drpt.objectives.grpo import PolicyRows, PolicyTerms, policy_losses
from drpt.objectives.normalisation import RowWeights, row_weights
from drpt.objectives.policy_statistics import PolicyStatistics, policy_statistics
from drpt.objectives.target_objectives import TargetRows, target_losses, target_row_weights


class PolicyLoss:
    """What the `algorithm` config group makes of responses.

    Args:
        spec: The `algorithm` config group.
        temperature: That responses are drawn under.
        max_tokens: Of the longest response.
        pad_token_id: For padding.
    """

    def __init__(self, spec: AlgorithmSpec, *, temperature: float, max_tokens: int, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id
        self.epochs = spec.epochs
        self.target_refresh_steps = spec.target.refresh_steps
        self._normalisation = Normalisation(spec.normalisation)
        self._objective = TargetObjective(spec.target.objective)
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._terms = PolicyTerms(
            clip_low=spec.clip_low,
            clip_high=spec.clip_high,
            importance_cap=spec.importance_cap,
            kl_coefficient=spec.kl_coefficient,
            kl_gradient=KlGradient(spec.kl_gradient),
        )

    def weights(self, num_tokens: Sequence[int]) -> RowWeights:
        """ω and scale of a step.

        Args:
            num_tokens: Of each of its responses.

        Returns:
            Empty weights in a step without responses.
        """
        if not num_tokens:
            return RowWeights(base_weights=torch.zeros(0, dtype=torch.float64), scale=1.0)
        return row_weights(torch.tensor(num_tokens), self._normalisation, max_tokens=self._max_tokens)

    def __call__(
        self, model: nn.Module, experience: Experience, rows: Sequence[int], tokens: TokenBatch
    ) -> tuple[Float[Tensor, " row"], PolicyStatistics]:
        """Loss of each row, a mean over its tokens, and what there is to tell.

        Args:
            model: The policy.
            experience: Whose rows.
            rows: Which, in the batch's order.
            tokens: The batch.

        Returns:
            Losses with gradient; statistics without.
        """
        scores = score_batch(model, tokens, self._temperature)
        known = self._policy_rows(experience, rows, tokens)
        return policy_losses(scores.logprobs, known, self._terms), policy_statistics(scores, known, self._terms)

    def backward_target(self, model: Any, experience: Experience, *, batch_rows: int) -> None:
        """Add the gradient of the target objective to ``.grad``, batch by batch.

        Args:
            model: The policy.
            experience: All target responses.
            batch_rows: Rows a pass.
        """
        device = next(model.parameters()).device
        counts = torch.tensor(experience.num_tokens)
        weights = target_row_weights(self._objective, counts, self._normalisation, max_tokens=self._max_tokens)
        rewards = pool_normalised(torch.tensor(experience.rewards, dtype=torch.float32)).to(device)
        for rows in in_batches(experience, batch_rows):
            tokens = experience.tokens(rows, pad_token_id=self.pad_token_id).to(device)
            scores = score_batch(model, tokens, self._temperature)
            known = TargetRows(policy=self._policy_rows(experience, rows, tokens), rewards=rewards[list(rows)])
            losses = target_losses(self._objective, scores.logprobs, known, self._terms)
            share = weights.scale * weights.base_weights[list(rows)].to(losses)
            (share * losses).sum().backward()

    def _policy_rows(self, experience: Experience, rows: Sequence[int], tokens: TokenBatch) -> PolicyRows:
        mask = tokens.loss_mask
        reference = experience.reference_logprobs
        return PolicyRows(
            old_logprobs=aligned(experience.old_logprobs, rows, mask),
            advantages=torch.tensor([experience.advantages[row] for row in rows], dtype=torch.float32, device=mask.device),
            response_mask=mask,
            engine_logprobs=aligned(experience.engine_logprobs, rows, mask),
            reference_logprobs=aligned(reference, rows, mask) if reference else None,
        )
