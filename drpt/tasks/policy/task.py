"""Reinforcement learning as tasks: with verifiable rewards, or from human feedback."""

from typing import TYPE_CHECKING

from drpt.tasks.policy.rlhf_metrics import RLHF
from drpt.tasks.policy.rlvr_metrics import RLVR
from drpt.tasks.policy.rules import check_rollouts, rollout_warnings
from drpt.tasks.run_spec import RunSpec
from drpt.tasks.task import Task

if TYPE_CHECKING:
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

    def assemble(self, parts: "Parts") -> "Assembly":
        """See `Task.assemble`."""
        from drpt.tasks.policy.assembly import assemble_policy

        return assemble_policy(parts)


class VerifiableRewardsTask(PolicyTask):
    """Rewards come from a verifier."""

    metrics = RLVR


class HumanFeedbackTask(PolicyTask):
    """Rewards come from a model of what people want."""

    metrics = RLHF
