"""Reinforcement learning with verifiable rewards: GRPO and its relatives, under a regularizer."""

from drpt.modules.policy_training import PolicyTraining


class VerifiableRewards(PolicyTraining):
    """Responses to one prompt are compared with each other, and the penalty for leaving the reference is part of the loss.

    What differs between the algorithms is in their `drpt.modules.policy_loss.PolicyLoss` and in the worker's
    `drpt.modules.appraisal.GroupAppraisal`; phases, minibatches, target gradients and checkpoints are `PolicyTraining`'s.
    """
