"""Builds the terms and judges of a run from the `reward` config group, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drpt.plugins import build_plugin
from drpt.rewards.judges import Judges
from drpt.rewards.references import ChecksReferences
from drpt.rewards.reward import RewardTerm
from drpt.rewards.spec import RewardSpec
from drpt.rewards.weighted import WeightedReward, WeightedTerm


@dataclass(frozen=True, kw_only=True)
class Rewards:
    """The reward of a run, and the judges that only report metrics."""

    terms: WeightedReward
    judges: Judges


def prepare_rewards(spec: RewardSpec) -> Rewards:
    """Build terms and judges, and load their models.

    Args:
        spec: The `reward` config group.

    Returns:
        Terms and judges that are ready for answers.

    Raises:
        ValueError: The configuration is invalid (see `build_reward`), a model cannot be loaded, or it lacks the label.
    """
    rewards = Rewards(terms=build_reward(spec), judges=build_judges(spec))
    rewards.terms.prepare()
    rewards.judges.prepare()
    return rewards


def build_reward(spec: RewardSpec) -> WeightedReward:
    """Build the reward from all its terms.

    Args:
        spec: The `reward` config group.

    Returns:
        Weighted sum of the terms.

    Raises:
        ValueError: A ``_target_`` is not a reward term, a key is unknown, or a value breaks its rule.
    """
    terms = {}
    for name, node in spec.terms.items():
        own = {key: value for key, value in node.items() if key != "weight"}
        terms[name] = WeightedTerm(term=_build_term(f"reward.terms.{name}", own), weight=node["weight"])
    return WeightedReward(terms)


def build_judges(spec: RewardSpec) -> Judges:
    """Build all judges.

    Args:
        spec: The `reward` config group.

    Returns:
        Judges, of which there may be none.

    Raises:
        ValueError: A ``_target_`` is not a reward term, a key is unknown, or a value breaks its rule.
    """
    return Judges({name: _build_term(f"reward.judges.{name}", node) for name, node in spec.judges.items()})


def build_terms(spec: RewardSpec) -> dict[str, RewardTerm]:
    """Build all terms and judges, without weights.

    Args:
        spec: The `reward` config group.

    Returns:
        Terms and judges by their names in the configuration, such as ``reward.terms.correct``.

    Raises:
        ValueError: The configuration is invalid; see `build_reward`.
    """
    nodes = {f"reward.terms.{name}": node for name, node in spec.terms.items()}
    nodes |= {f"reward.judges.{name}": node for name, node in spec.judges.items()}
    return {
        name: _build_term(name, {key: value for key, value in node.items() if key != "weight"}) for name, node in nodes.items()
    }


def build_reference_checks(spec: RewardSpec) -> dict[str, ChecksReferences]:
    """Build the terms and judges that can check whether a reference response is readable.

    Args:
        spec: The `reward` config group.

    Returns:
        Terms and judges by their names in the configuration; there may be none.

    Raises:
        ValueError: The configuration is invalid; see `build_reward`.
    """
    return {name: term for name, term in build_terms(spec).items() if isinstance(term, ChecksReferences)}


def _build_term(option: str, node: Mapping[str, Any]) -> RewardTerm:
    term: RewardTerm = build_plugin(option, node, methods=("__call__",), protocol="drpt.rewards.reward.RewardTerm")
    return term
