"""Reinforcement learning as tasks: with verifiable rewards, or from human feedback."""

from typing import TYPE_CHECKING

from drpt.tasks.policy.rlhf_metrics import RLHF
from drpt.tasks.policy.rlvr_metrics import RLVR
from drpt.tasks.policy.rules import check_rollouts, rollout_warnings
from drpt.tasks.run_spec import RunSpec
from drpt.tasks.task import Task

if TYPE_CHECKING:
    from drpt.rl.algorithm import Algorithm
    from drpt.tasks.assembly import Assembly, Parts


class PolicyTask(Task):
    """Trains a policy on its own responses; which algorithm does, the group `algorithm` says."""

    draws_responses = True
    fixed_weights = "algorithm.normalisation says how responses are weighted"

    def check(self, spec: RunSpec) -> None:
        """See `Task.check`."""
        check_rollouts(spec)

    def warnings(self, spec: RunSpec) -> list[str]:
        """See `Task.warnings`."""
        return rollout_warnings(spec)

    def build_algorithm(self, parts: "Parts") -> "Algorithm":
        """Estimator of advantages and loss; a task with one of its own overrides it.

        Args:
            parts: Model, data and configuration.

        Returns:
            The algorithm that the group `algorithm` describes.
        """
        from drpt.rl.algorithm import build_algorithm

        spec = parts.spec
        assert spec.algorithm is not None
        assert spec.rollout is not None
        return build_algorithm(
            spec.algorithm,
            temperature=spec.rollout.temperature,
            max_tokens=spec.rollout.max_tokens,
            pad_token_id=parts.loaded.tokenizer.pad_token_id,
        )

    def assemble(self, parts: "Parts") -> "Assembly":
        """See `Task.assemble`."""
        from drpt.tasks.policy.assembly import assemble_policy

        return assemble_policy(parts, self.build_algorithm(parts))


class VerifiableRewardsTask(PolicyTask):
    """Rewards come from a verifier."""

    metrics = RLVR


class HumanFeedbackTask(PolicyTask):
    """Rewards come from a model of what people want."""

    metrics = RLHF
