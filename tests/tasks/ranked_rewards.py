"""A task from outside the package whose advantages are ranks: large rewards count no more than small ones."""

# --8<-- [start:task]
from dataclasses import replace

from drpt.tasks.policy.task import VerifiableRewardsTask


class RankedRewards(VerifiableRewardsTask):
    """GRPO with the ranks of a group's rewards in the place of the rewards."""

    def build_algorithm(self, parts):
        """The loss is the configuration's, the estimator our own."""
        from drpt.rl.advantage_estimator import GroupAdvantageEstimator

        class RankEstimator(GroupAdvantageEstimator):
            def __call__(self, trajectories, *, is_target):
                rewards = {
                    one.group: sorted({other.reward for other in trajectories if other.group == one.group})
                    for one in trajectories
                }
                ranked = [replace(one, reward=float(rewards[one.group].index(one.reward))) for one in trajectories]
                super().__call__(ranked, is_target=is_target)
                for one, other in zip(trajectories, ranked, strict=True):
                    one.advantages = other.advantages
                return {"rank/max": max(one.reward for one in ranked)}

        return replace(super().build_algorithm(parts), estimator=RankEstimator(parts.spec.algorithm))


# --8<-- [end:task]
