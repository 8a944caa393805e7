"""Metrics of a phase, and of the optimizer steps on its trajectories."""

from collections.abc import Mapping

from drpt.rewards.judges import metrics_by_role
from drpt.rewards.weighted import WeightedReward
from drpt.rl.group_advantages import has_signal
from drpt.rl.policy_statistics import PolicyStatistics
from drpt.rl.sampled_groups import SampledGroups
from drpt.rl.sampler import Stopwatch, opinions_of

_SECONDS, _MEMORY = "train/step_seconds/value", "train/peak_memory_bytes/value"


def sampling_metrics(
    general: SampledGroups, target: SampledGroups, reward: WeightedReward, seconds: Stopwatch
) -> dict[str, float]:
    """Metrics of the responses of a phase, before they are scored.

    Args:
        general: Responses to general prompts.
        target: Responses to target prompts.
        reward: Reward that judged them.
        seconds: Seconds that drawing and judging them took.

    Returns:
        Lengths, rewards, opinions of the judges, and speeds, by metric.
    """
    responses = [one.response for sampled in (general, target) for group in sampled.groups for one in group]
    num_tokens = [len(response.token_ids) for response in responses]
    metrics = {
        "train/response_length/mean": sum(num_tokens) / len(num_tokens),
        "train/finished/share": sum(response.is_finished for response in responses) / len(responses),
        "rollout/tokens/sum": float(sum(num_tokens)),
        "rollout/tokens_per_second/value": sum(num_tokens) / seconds.generating,
        "rollout/generate_seconds/value": seconds.generating,
        "rollout/scoring_seconds/value": seconds.judging,
    }
    for stage, sampled in (("train", general), ("train_target", target)):
        if sampled.groups:
            figures = reward.metrics(sampled.judged) | metrics_by_role(opinions_of(sampled.groups))
            metrics |= {f"{stage}/{name}": value for name, value in figures.items()}
            if sampled.rewards.shape[1] > 1:  # one response has nothing to differ from
                metrics[f"{stage}/groups_with_signal/share"] = float(has_signal(sampled.rewards).double().mean())
    return metrics


def update_metrics(statistics: PolicyStatistics | None) -> dict[str, float]:
    """Metrics of the responses that an optimizer step looked at, under the policy before its update.

    Args:
        statistics: Sums over the step's response tokens; None for a step that looked at no response.

    Returns:
        Means over tokens, by metric.
    """
    if statistics is None:
        return {}
    names = {"kl_reference": "kl"}
    metrics = {f"train/{names.get(name, name)}/mean": value for name, value in statistics.means().items()}
    metrics["train/clip_fraction/mean"] = metrics["train/clipped_low/mean"] + metrics["train/clipped_high/mean"]
    metrics["train/tokens/sum"] = float(statistics.num_tokens)
    return metrics


def total_costs(of_update: Mapping[str, float], others: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The cost of an optimizer step: what was computed before the update is a part of it, and shown apart as well.

    Args:
        of_update: Cost of the update, by metric.
        others: Costs of the target gradient and of a phase's choice, by name and metric, where the step computed them.

    Returns:
        Total seconds, largest memory, and seconds of each part, by metric.
    """
    costs = [of_update, *others.values()]
    joined = dict(of_update) | {f"train/{name}_seconds/value": cost[_SECONDS] for name, cost in others.items()}
    joined[_SECONDS] = sum(cost[_SECONDS] for cost in costs)
    peaks = [cost[_MEMORY] for cost in costs if _MEMORY in cost]
    return joined | ({_MEMORY: max(peaks)} if peaks else {})
