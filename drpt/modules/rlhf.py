"""Reinforcement learning from human feedback: PPO with a value head, under a regularizer."""

from typing import Any

from drpt.models.value_head import PolicyWithValues
from drpt.modules.policy_training import PolicyTraining
from drpt.modules.ppo_spec import PpoSpec
from drpt.objectives.policy_statistics import PolicyStatistics


class HumanFeedback(PolicyTraining):
    """Scores of a reward model, less a penalty a token for leaving the reference, against a value function.

    The value head has a learning rate of its own and gets the ordinary general gradient; the regularizer decides the rest. A
    phase ends early once the policy has gone too far from the one that answered: with the step that finds it so, whose
    update is still taken (a departure).

    Args:
        model: With a value head.
        *arguments: See `PolicyTraining`.
        spec: The `algorithm` config group.
        **options: See `PolicyTraining`.
    """

    def __init__(self, model: PolicyWithValues, *arguments: Any, spec: PpoSpec, **options: Any) -> None:
        super().__init__(model, *arguments, **options)
        self._value_lr = spec.value.lr
        self._stop = spec.kl.stop

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The head's apart from the trunk's."""
        assert isinstance(self.model, PolicyWithValues)
        trunk = [parameter for parameter in self.model.policy.parameters() if parameter.requires_grad]
        return [{"params": trunk}, {"params": list(self.model.value_head.parameters()), "lr": self._value_lr}]

    def ends_phase(self, statistics: PolicyStatistics) -> bool:
        """Whether the policy, before the step's update, had gone further than ``algorithm.kl.stop``."""
        return self._stop is not None and statistics.means()["kl_old"] > self._stop
