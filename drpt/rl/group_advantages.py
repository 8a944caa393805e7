"""Rewards compared with each other. Axes: group = prompts, response = responses to one prompt, row = any responses."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from drpt.rl.choices import Advantage

# Keeps the quotient bounded where rewards differ in their last digits only. The paper writes none.
STD_EPSILON = 1e-6


def group_advantages(rewards: Float[Tensor, "group response"], kind: Advantage) -> Float[Tensor, "group response"]:
    """How far each response's reward is above or below its group's.

    With n responses of rewards r_1..r_n, mean r̄ and sample variance s² = Σ (r_j − r̄)² / (n − 1):

    - ``std``: ``(r_i − r̄) / (s + ε)``, ε = 1e-6. Source: GRPO (Shao et al. 2024, arXiv 2402.03300), which does not say which
      standard deviation; the one over n − 1 is what open implementations compute.
    - ``mean``: ``r_i − r̄``. Source: Dr. GRPO (Liu et al. 2025, arXiv 2503.20783).
    - ``rloo``: ``r_i − Σ_{j≠i} r_j / (n − 1) = n / (n − 1) · (r_i − r̄)``. Source: Ahmadian et al. 2024, arXiv 2402.14740.

    A group without signal (`has_signal`) gets exactly 0, not the rounding error of its mean over ε.

    Args:
        rewards: Rewards [group, response]; higher is better. Finiteness is not checked.
        kind: Comparison within a group.

    Returns:
        Advantages [group, response], in the rewards' unit (``mean``, ``rloo``) or in standard deviations.

    Raises:
        ValueError: Groups of one response: there is nothing to compare it with.
    """
    n = rewards.shape[1]
    if n < 2:
        raise ValueError(
            f"rollout.num_responses={n} must be at least 2: an advantage compares the responses to one prompt with each other."
        )
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    if kind == Advantage.STD:
        std = (centred.square().sum(dim=1, keepdim=True) / (n - 1)).sqrt()
        advantages = centred / (std + STD_EPSILON)
    elif kind == Advantage.RLOO:
        advantages = centred * (n / (n - 1))
    else:
        advantages = centred
    return torch.where(has_signal(rewards)[:, None], advantages, 0.0)


def has_signal(rewards: Float[Tensor, "group response"]) -> Bool[Tensor, " group"]:
    """Whether a group's rewards are not all equal; else its advantages are 0 and its responses teach nothing.

    Source: the filter of dynamic sampling in DAPO (Yu et al. 2025, arXiv 2503.14476), written there for rewards of 0 and 1.

    Args:
        rewards: Rewards [group, response], with at least one response in each group.

    Returns:
        One truth value for each group.
    """
    return rewards.amax(dim=1) > rewards.amin(dim=1)


def pool_normalised(rewards: Float[Tensor, " row"]) -> Float[Tensor, " row"]:
    """``(r_i − r̄) / s`` over all rows together, s over M − 1; ``r_i − 0.5`` if all rewards are equal, a single row included.

    What the target objective `reward` weighs responses with: normalised over all target responses, not a prompt's. Source:
    Dr. Post-Training (Hu et al. 2026, arXiv 2605.07063) and its code, which adds 1e-8 to s. The 0.5 is for rewards within
    0 and 1: where all target responses are right v still asks for them, where all are wrong it asks for others.

    Args:
        rewards: Rewards of *all* M target responses, over all micro-batches and processes; at least one.

    Returns:
        Normalised rewards [row], dimensionless; the fallback is in the rewards' unit.
    """
    if bool(rewards.amax() == rewards.amin()):
        return rewards - 0.5
    return (rewards - rewards.mean()) / rewards.std(correction=1)
