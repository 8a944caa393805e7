"""The policy's loss on trajectories, and the gradient of the target objective: `drpt.rl.grpo` applied to micro-batches."""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from drpt.data.batch import TokenBatch
from drpt.rl.algorithm_spec import AlgorithmSpec, GroupAlgorithmSpec
from drpt.rl.batches import at_tokens, by_length, token_batch
from drpt.rl.choices import KlGradient, Normalisation, TargetObjective
from drpt.rl.group_advantages import pool_normalised
from drpt.rl.grpo import PolicyRows, PolicyTerms, policy_losses
from drpt.rl.normalisation import RowWeights, row_weights
from drpt.rl.policy_statistics import PolicyStatistics, policy_statistics
from drpt.rl.scoring import BatchScores, score_batch
from drpt.rl.target_objectives import TargetRows, target_losses, target_row_weights, without_clipping
from drpt.rl.trajectory import Trajectory


class PolicyLoss:
    """The clipped loss of the policy on trajectories, and the gradient of the target objective.

    Args:
        spec: The `algorithm` config group.
        terms: Terms of the policy's loss.
        temperature: Temperature that responses are drawn under.
        max_tokens: Tokens of the longest response allowed.
        pad_token_id: Token id that fills shorter rows.
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

    def weights(self, trajectories: Sequence[Trajectory]) -> RowWeights:
        """Base weights ω and scale of an optimizer step.

        Args:
            trajectories: Trajectories of the step.

        Returns:
            ω in the order of the trajectories, and the scale; empty weights for a step without trajectories.
        """
        if not trajectories:
            return RowWeights(base_weights=torch.zeros(0, dtype=torch.float64), scale=1.0)
        num_tokens = torch.tensor([one.num_tokens for one in trajectories])
        return row_weights(num_tokens, self._normalisation, max_tokens=self._max_tokens)

    def __call__(
        self, model: nn.Module, trajectories: Sequence[Trajectory], tokens: TokenBatch
    ) -> tuple[Float[Tensor, " row"], PolicyStatistics]:
        """Loss of each trajectory, a mean over its response tokens, and statistics of the policy.

        Args:
            model: Policy.
            trajectories: Trajectories of the micro-batch, in its order.
            tokens: Their tokens, on the model's device.

        Returns:
            Losses with gradient [row]; statistics without gradient.
        """
        scores = self._score(model, tokens)
        known = self._policy_rows(trajectories, tokens)
        losses, sums = self.losses(scores, known, self._terms, trajectories, tokens)
        return losses, PolicyStatistics(sums=policy_statistics(scores.tokens, known, self._terms).sums | sums)

    def backward_target(
        self, model: Any, trajectories: Sequence[Trajectory], *, batch_rows: int, is_scaled: bool
    ) -> PolicyStatistics:
        """Add the gradient of the target objective to ``.grad``, one micro-batch after another.

        Args:
            model: Policy.
            trajectories: All trajectories of the target objective.
            batch_rows: Rows of a micro-batch.
            is_scaled: Whether the normalisation's scale counts. It does where v is the whole update. Beside general responses,
                whose gradients v is compared with, the step scales its update as a whole.

        Returns:
            Statistics of the policy on these trajectories.
        """
        found: list[PolicyStatistics] = []
        device = next(model.parameters()).device
        counts = torch.tensor([one.num_tokens for one in trajectories])
        weights = target_row_weights(self._objective, counts, self._normalisation, max_tokens=self._max_tokens)
        rewards = pool_normalised(torch.tensor([one.reward for one in trajectories], dtype=torch.float32)).to(device)
        for rows in by_length(trajectories, batch_rows):
            some = [trajectories[row] for row in rows]
            tokens = token_batch(some, pad_token_id=self.pad_token_id).to(device)
            scores = self._score(model, tokens)
            losses = self._target_losses(scores, some, tokens, rewards[rows])
            found.append(policy_statistics(scores.tokens, self._policy_rows(some, tokens), self._terms))
            share = (weights.scale if is_scaled else 1.0) * weights.base_weights[rows].to(losses)
            (share * losses).sum().backward()
        return reduce(add, found)

    def _score(self, model: nn.Module, tokens: TokenBatch) -> BatchScores:
        return score_batch(model, tokens, self._temperature)

    def losses(
        self,
        scores: BatchScores,
        known: PolicyRows,
        terms: PolicyTerms,
        trajectories: Sequence[Trajectory],
        tokens: TokenBatch,
    ) -> tuple[Float[Tensor, " row"], dict[str, Tensor]]:
        """The training loss of each trajectory; a loss of one's own overrides this method.

        Args:
            scores: Scores of the response tokens under the policy, with gradient.
            known: Log-probabilities and advantages of the same tokens, without gradient.
            terms: Terms of the loss, from the `algorithm` config group.
            trajectories: Trajectories of the micro-batch, in its order.
            tokens: Their tokens; the loss mask marks the responses.

        Returns:
            Losses [row], each a mean over the row's response tokens; and sums over tokens of figures that this loss alone
            has, by name.
        """
        return policy_losses(scores.tokens.logprobs, known, terms), {}

    def _target_losses(
        self,
        scores: BatchScores,
        trajectories: Sequence[Trajectory],
        tokens: TokenBatch,
        rewards: Float[Tensor, " row"],
    ) -> Float[Tensor, " row"]:
        known, terms = self._policy_rows(trajectories, tokens), self._terms
        if self._objective in {TargetObjective.REWARD, TargetObjective.TOKEN_PG}:
            return target_losses(self._objective, scores.tokens.logprobs, TargetRows(policy=known, rewards=rewards), terms)
        if self._objective is TargetObjective.TRAIN_LOSS_PRECLIP:
            terms = without_clipping(terms)
        return self.losses(scores, known, terms, trajectories, tokens)[0]

    def _policy_rows(self, trajectories: Sequence[Trajectory], tokens: TokenBatch) -> PolicyRows:
        mask = tokens.loss_mask
        has_reference = bool(trajectories[0].reference_logprobs)
        return PolicyRows(
            old_logprobs=at_tokens([one.old_logprobs for one in trajectories], mask),
            advantages=at_tokens([one.advantages for one in trajectories], mask),
            response_mask=mask,
            engine_logprobs=at_tokens([one.engine_logprobs for one in trajectories], mask),
            reference_logprobs=at_tokens([one.reference_logprobs for one in trajectories], mask) if has_reference else None,
        )


def group_terms(spec: GroupAlgorithmSpec) -> PolicyTerms:
    """Terms of the policy's loss in group-relative algorithms, whose penalty is a part of the loss.

    Args:
        spec: The `algorithm` config group.

    Returns:
        The terms.
    """
    return PolicyTerms(
        clip_low=spec.clip_low,
        clip_high=spec.clip_high,
        importance_cap=spec.importance_cap,
        kl_coefficient=spec.kl_coefficient,
        kl_gradient=KlGradient(spec.kl_gradient),
    )
