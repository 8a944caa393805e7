"""The policy's and the value function's loss on rows of experience: `drpt.rl.ppo` applied to batches."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from drpt.data.batch import TokenBatch
from drpt.objectives.policy import counted
from drpt.rl.batches import at_tokens
from drpt.rl.choices import KlGradient
from drpt.rl.grpo import PolicyRows, PolicyTerms
from drpt.rl.policy_loss import PolicyLoss
from drpt.rl.ppo import ValueRows, ValueTerms, ppo_losses, value_errors
from drpt.rl.ppo_spec import PpoSpec
from drpt.rl.scoring import BatchScores, score_batch
from drpt.rl.trajectory import Trajectory


class PpoLoss(PolicyLoss):
    """The loss of proximal policy optimization on trajectories: the policy's, the value function's and an entropy bonus.

    The target objectives ``train_loss`` and ``train_loss_preclip`` contain the value function's loss, whose gradient reaches
    the trunk.

    Args:
        spec: The `algorithm` config group.
        temperature: Temperature that responses are drawn under.
        max_tokens: Tokens of the longest response allowed.
        pad_token_id: Token id that fills shorter rows.
    """

    def __init__(self, spec: PpoSpec, *, temperature: float, max_tokens: int, pad_token_id: int) -> None:
        terms = PolicyTerms(
            clip_low=spec.clip_low,
            clip_high=spec.clip_high,
            importance_cap=spec.importance_cap,
            kl_coefficient=0.0,  # the penalty is in the rewards
            kl_gradient=KlGradient.K3,
        )
        super().__init__(spec, terms, temperature=temperature, max_tokens=max_tokens, pad_token_id=pad_token_id)
        self._value_terms = ValueTerms(
            value_coefficient=spec.value.coefficient,
            value_clip=spec.value.clip,
            entropy_coefficient=spec.entropy_coefficient,
        )

    def _score(self, model: nn.Module, tokens: TokenBatch) -> BatchScores:
        has_bonus = self._value_terms.entropy_coefficient > 0
        return score_batch(model, tokens, self._temperature, entropy_gradient=has_bonus)

    def losses(
        self,
        scores: BatchScores,
        known: PolicyRows,
        terms: PolicyTerms,
        trajectories: Sequence[Trajectory],
        tokens: TokenBatch,
    ) -> tuple[Float[Tensor, " row"], dict[str, Tensor]]:
        """See `PolicyLoss.losses`."""
        assert scores.values is not None
        mask = tokens.loss_mask
        value = ValueRows(
            old_values=at_tokens([one.values for one in trajectories], mask),
            returns=at_tokens([one.returns for one in trajectories], mask),
        )
        losses = ppo_losses(scores.tokens, scores.values, known, value, terms, self._value_terms)
        return losses, self._value_sums(scores.values.detach(), value, mask)

    def _value_sums(self, values: Tensor, rows: ValueRows, mask: Tensor) -> dict[str, Tensor]:
        errors = value_errors(values, rows, self._value_terms.value_clip)
        plain = value_errors(values, rows, None)
        found = {"value_loss": errors, "value_clipped": (errors > plain).double()}
        return {name: torch.where(counted(mask), each.double(), 0.0).sum() for name, each in found.items()}
