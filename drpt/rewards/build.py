"""From the `reward` config group to the terms it names; no torch."""

from drpt.plugins import build_plugin
from drpt.rewards.spec import RewardSpec
from drpt.rewards.weighted import WeightedReward, WeightedTerm


def build_reward(spec: RewardSpec) -> WeightedReward:
    """Build every term.

    Args:
        spec: The `reward` config group.

    Returns:
        Their weighted sum.

    Raises:
        ValueError: A path leads to no term of a reward, a key is not one of its, or a value breaks its rules.
    """
    terms = {}
    for name, node in spec.terms.items():
        own = {key: value for key, value in node.items() if key != "weight"}
        term = build_plugin(f"reward.terms.{name}", own, methods=("__call__",), protocol="drpt.rewards.reward.RewardTerm")
        terms[name] = WeightedTerm(term=term, weight=node["weight"])
    return WeightedReward(terms)
