"""From the `reward` config group to the terms and judges it names; no torch."""

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
    """What answers are worth, and what is said of them besides."""

    terms: WeightedReward
    judges: Judges


def prepare_rewards(spec: RewardSpec) -> Rewards:
    """Build terms and judges, and load what they need.

    Args:
        spec: The `reward` config group.

    Returns:
        Both, ready for answers.

    Raises:
        ValueError: See `build_reward`; or a model that they name cannot be loaded or has no such label.
    """
    rewards = Rewards(terms=build_reward(spec), judges=build_judges(spec))
    rewards.terms.prepare()
    rewards.judges.prepare()
    return rewards


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
        terms[name] = WeightedTerm(term=_build_term(f"reward.terms.{name}", own), weight=node["weight"])
    return WeightedReward(terms)


def build_judges(spec: RewardSpec) -> Judges:
    """Build every judge.

    Args:
        spec: The `reward` config group.

    Returns:
        All of them; none is fine.

    Raises:
        ValueError: A path leads to no term of a reward, a key is not one of its, or a value breaks its rules.
    """
    return Judges({name: _build_term(f"reward.judges.{name}", node) for name, node in spec.judges.items()})


def build_terms(spec: RewardSpec) -> dict[str, RewardTerm]:
    """Build every term and judge.

    Args:
        spec: The `reward` config group.

    Returns:
        All of them, by their names in the configuration: ``reward.terms.correct``.

    Raises:
        ValueError: See `build_reward`.
    """
    nodes = {f"reward.terms.{name}": node for name, node in spec.terms.items()}
    nodes |= {f"reward.judges.{name}": node for name, node in spec.judges.items()}
    return {
        name: _build_term(name, {key: value for key, value in node.items() if key != "weight"}) for name, node in nodes.items()
    }


def build_reference_checks(spec: RewardSpec) -> dict[str, ChecksReferences]:
    """Build the terms and judges that compare answers with references, to judge the references themselves.

    Args:
        spec: The `reward` config group.

    Returns:
        Such terms by their names in the configuration; none is fine.

    Raises:
        ValueError: See `build_reward`.
    """
    return {name: term for name, term in build_terms(spec).items() if isinstance(term, ChecksReferences)}


def _build_term(option: str, node: Mapping[str, Any]) -> RewardTerm:
    term: RewardTerm = build_plugin(option, node, methods=("__call__",), protocol="drpt.rewards.reward.RewardTerm")
    return term
