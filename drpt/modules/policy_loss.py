"""The policy's loss on rows of experience, and the target objective's gradient: `drpt.objectives` applied to batches."""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from drpt.data.batch import TokenBatch
from drpt.modules.algorithm_spec import AlgorithmSpec, GroupAlgorithmSpec
from drpt.modules.experience import Experience, aligned
from drpt.modules.scoring import BatchScores, in_batches, score_batch
from drpt.objectives.advantages import pool_normalised
from drpt.objectives.choices import KlGradient, Normalisation, TargetObjective
from drpt.objectives.grpo import PolicyRows, PolicyTerms, policy_losses
from drpt.objectives.normalisation import RowWeights, row_weights
from drpt.objectives.policy_statistics import PolicyStatistics, policy_statistics
from drpt.objectives.target_objectives import TargetRows, target_losses, target_row_weights, without_clipping


class PolicyLoss:
    """What the `algorithm` config group makes of responses: the clipped loss of the policy alone.

    Args:
        spec: The `algorithm` config group.
        terms: What the loss of the policy consists of.
        temperature: That responses are drawn under.
        max_tokens: Of the longest response.
        pad_token_id: For padding.
    """

    def __init__(
        self, spec: AlgorithmSpec, terms: PolicyTerms, *, temperature: float, max_tokens: int, pad_token_id: int
    ) -> None:
        self.pad_token_id = pad_token_id
        self.epochs = spec.epochs
        self.target_refresh_steps = spec.target.refresh_steps
        self._normalisation = Normalisation(spec.normalisation)
        self._objective = TargetObjective(spec.target.objective)
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._terms = terms

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
        scores = self._score(model, tokens)
        known = self._policy_rows(experience, rows, tokens)
        losses, statistics = self._losses(scores, known, self._terms, experience, rows, tokens)
        return losses, PolicyStatistics(sums=policy_statistics(scores.tokens, known, self._terms).sums | statistics)

    def backward_target(self, model: Any, experience: Experience, *, batch_rows: int, is_scaled: bool) -> PolicyStatistics:
        """Add the gradient of the target objective to ``.grad``, batch by batch.

        Args:
            model: The policy.
            experience: All target responses.
            batch_rows: Rows a pass.
            is_scaled: Whether the normalisation's scale counts. It does where v is the whole update; beside general responses,
                whose gradients v is compared with, a step scales what comes of both.

        Returns:
            Figures of the target responses.
        """
        found: list[PolicyStatistics] = []
        device = next(model.parameters()).device
        counts = torch.tensor(experience.num_tokens)
        weights = target_row_weights(self._objective, counts, self._normalisation, max_tokens=self._max_tokens)
        rewards = pool_normalised(torch.tensor(experience.rewards, dtype=torch.float32)).to(device)
        for rows in in_batches(experience, batch_rows):
            tokens = experience.tokens(rows, pad_token_id=self.pad_token_id).to(device)
            scores = self._score(model, tokens)
            losses = self._target_losses(scores, experience, rows, tokens, rewards[list(rows)])
            known = self._policy_rows(experience, rows, tokens)
            found.append(policy_statistics(scores.tokens, known, self._terms))
            share = (weights.scale if is_scaled else 1.0) * weights.base_weights[list(rows)].to(losses)
            (share * losses).sum().backward()
        return reduce(add, found)

    def _score(self, model: nn.Module, tokens: TokenBatch) -> BatchScores:
        return score_batch(model, tokens, self._temperature)

    def _losses(
        self,
        scores: BatchScores,
        known: PolicyRows,
        terms: PolicyTerms,
        experience: Experience,
        rows: Sequence[int],
        tokens: TokenBatch,
    ) -> tuple[Float[Tensor, " row"], dict[str, Tensor]]:
        """The training loss of each row, and sums of figures of its own."""
        return policy_losses(scores.tokens.logprobs, known, terms), {}

    def _target_losses(
        self,
        scores: BatchScores,
        experience: Experience,
        rows: Sequence[int],
        tokens: TokenBatch,
        rewards: Float[Tensor, " row"],
    ) -> Float[Tensor, " row"]:
        known, terms = self._policy_rows(experience, rows, tokens), self._terms
        if self._objective in {TargetObjective.REWARD, TargetObjective.TOKEN_PG}:
            return target_losses(self._objective, scores.tokens.logprobs, TargetRows(policy=known, rewards=rewards), terms)
        if self._objective is TargetObjective.TRAIN_LOSS_PRECLIP:
            terms = without_clipping(terms)
        return self._losses(scores, known, terms, experience, rows, tokens)[0]

    def _policy_rows(self, experience: Experience, rows: Sequence[int], tokens: TokenBatch) -> PolicyRows:
        mask = tokens.loss_mask
        reference, own = experience.reference_logprobs, experience.token_advantages
        alike = [experience.advantages[row] for row in rows] if not own else []
        return PolicyRows(
            old_logprobs=aligned(experience.old_logprobs, rows, mask),
            advantages=aligned(own, rows, mask) if own else torch.tensor(alike, dtype=torch.float32, device=mask.device),
            response_mask=mask,
            engine_logprobs=aligned(experience.engine_logprobs, rows, mask),
            reference_logprobs=aligned(reference, rows, mask) if reference else None,
        )


def group_terms(spec: GroupAlgorithmSpec) -> PolicyTerms:
    """What the loss of group-relative algorithms consists of.

    Args:
        spec: The `algorithm` config group.

    Returns:
        The penalty is a part of the loss.
    """
    return PolicyTerms(
        clip_low=spec.clip_low,
        clip_high=spec.clip_high,
        importance_cap=spec.importance_cap,
        kl_coefficient=spec.kl_coefficient,
        kl_gradient=KlGradient(spec.kl_gradient),
    )
