"""The `reward` config group: its keys and rules, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drpt.checks import check_interval

_LEAST_WEIGHT = 1e-6


@dataclass(kw_only=True)
class RewardSpec:
    """A weighted sum of terms, and judges that training does not follow."""

    name: str  # in tables and dashboards
    # Any: a class's own keys have values of several kinds.
    terms: dict[str, dict[str, Any]]  # by name: _target_ (the dotted path of a class), weight, and the class's own keys
    judges: dict[str, dict[str, Any]]  # the same without weight: they see the same answers, and only metrics come of it

    def __post_init__(self) -> None:
        """Check the values; what a term's own keys may be, `drpt.rewards.build` knows.

        Raises:
            ValueError: A value breaks its rule.
        """
        if not self.terms:
            raise ValueError("reward.terms={}: a reward needs at least one term.")
        _check_nodes("reward.terms", self.terms, needed=("_target_", "weight"))
        for name, term in self.terms.items():
            meaning, weight = "what the term's value is multiplied by", term["weight"]
            if isinstance(weight, bool) or not isinstance(weight, int | float):
                raise ValueError(f"reward.terms.{name}.weight={weight!r} must be a number: {meaning}.")
            check_interval(f"reward.terms.{name}.weight", weight, low=-1e6, high=1e6, meaning=meaning)
            if 0 < abs(weight) < _LEAST_WEIGHT:
                raise ValueError(
                    f"reward.terms.{name}.weight={weight!r} must be 0 or at least {_LEAST_WEIGHT:g} in size: {meaning}. "
                    "Rewards so small vanish next to what is added to a group's standard deviation (1e-6) before it divides "
                    "them."
                )
        _check_nodes("reward.judges", self.judges, needed=("_target_",))
        for name, judge in self.judges.items():
            self._check_judge(name, judge)

    def _check_judge(self, name: str, judge: Mapping[str, Any]) -> None:
        if "weight" in judge:
            raise ValueError(
                f"reward.judges.{name}.weight={judge['weight']!r}: a judge has none, since it is no part of the reward. Leave "
                "it out, or make it one of reward.terms."
            )
        if name in self.terms:
            raise ValueError(
                f"reward.judges.{name}: one of reward.terms has this name, and both become part of metrics' names. Take "
                "another."
            )
        for term_name, term in self.terms.items():
            # Other settings of the same model are not looked for: they can make another judge or none.
            if judge == {key: value for key, value in term.items() if key != "weight"}:
                raise ValueError(
                    f"reward.judges.{name} is reward.terms.{term_name} again: a second judge must be another one than the "
                    "reward, or it cannot show that the reward is exploited. Change its _target_ or its keys, or leave it out."
                )


# Columns of tables of answers, and what would be mistaken for `reward_gap`.
_TAKEN = frozenset({"prompt", "expected", "answer", "is_correct", "reward", "gap"})


def _check_nodes(option: str, nodes: Mapping[str, Mapping[str, Any]], *, needed: tuple[str, ...]) -> None:
    for name, node in nodes.items():
        if name in _TAKEN:
            raise ValueError(f"{option}.{name}: this name is taken, by a column of tables of answers. Take another.")
        if not name.isidentifier():
            raise ValueError(f"{option}: the name {name!r} becomes part of metrics' names: letters, digits and _ alone.")
        for key in needed:
            if key not in node:
                raise ValueError(f"{option}.{name}.{key} is needed.")
