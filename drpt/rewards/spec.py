"""The `reward` config group: its keys and rules, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drpt.checks import check_interval

_LEAST_WEIGHT = 1e-6


@dataclass(kw_only=True)
class RewardSpec:
    """A weighted sum of terms, and judges that only report metrics."""

    name: str  # name of the reward in tables and dashboards
    # Any: a class's own keys have values of several types.
    terms: dict[str, dict[str, Any]]  # terms by name, at least one: _target_ (path of a class), weight, and the class's keys
    judges: dict[str, dict[str, Any]]  # judges by name, like terms but without weight; they affect metrics only, not training

    def __post_init__(self) -> None:
        """Check the values; the own keys of terms are checked by `drpt.rewards.build`.

        Raises:
            ValueError: A value breaks its rule.
        """
        if not self.terms:
            raise ValueError("reward.terms={}: a reward needs at least one term.")
        _check_nodes("reward.terms", self.terms, needed=("_target_", "weight"))
        for name, term in self.terms.items():
            meaning, weight = "the factor of the term's value in the reward", term["weight"]
            if isinstance(weight, bool) or not isinstance(weight, int | float):
                raise ValueError(f"reward.terms.{name}.weight={weight!r} must be a number: {meaning}.")
            check_interval(f"reward.terms.{name}.weight", weight, low=-1e6, high=1e6, meaning=meaning)
            if 0 < abs(weight) < _LEAST_WEIGHT:
                raise ValueError(
                    f"reward.terms.{name}.weight={weight!r} must be 0 or at least {_LEAST_WEIGHT:g} in size: {meaning}. "
                    "Smaller rewards vanish beside the 1e-6 that is added to a group's standard deviation before dividing by "
                    "it."
                )
        _check_nodes("reward.judges", self.judges, needed=("_target_",))
        for name, judge in self.judges.items():
            self._check_judge(name, judge)

    def _check_judge(self, name: str, judge: Mapping[str, Any]) -> None:
        if "weight" in judge:
            raise ValueError(
                f"reward.judges.{name}.weight={judge['weight']!r}: a judge has no weight, since it is not part of the reward. "
                "Leave it out, or move the judge to reward.terms."
            )
        if name in self.terms:
            raise ValueError(
                f"reward.judges.{name}: one of reward.terms has the same name, and both are used in metric names. Choose "
                "another name."
            )
        for term_name, term in self.terms.items():
            # The same model with other settings is accepted, since it may be a different judge.
            if judge == {key: value for key, value in term.items() if key != "weight"}:
                raise ValueError(
                    f"reward.judges.{name} is the same as reward.terms.{term_name}: a judge must differ from the reward, or it "
                    "cannot show that the reward is exploited. Change its _target_ or its keys, or leave it out."
                )


# Columns of the tables of answers, and a name that would be confused with `reward_gap`.
_TAKEN = frozenset({"prompt", "expected", "answer", "is_correct", "reward", "gap"})


def _check_nodes(option: str, nodes: Mapping[str, Mapping[str, Any]], *, needed: tuple[str, ...]) -> None:
    for name, node in nodes.items():
        if name in _TAKEN:
            raise ValueError(f"{option}.{name}: this name is a column of the tables of answers. Choose another name.")
        if not name.isidentifier():
            raise ValueError(f"{option}: the name {name!r} is used in metric names: use only letters, digits and _.")
        for key in needed:
            if key not in node:
                raise ValueError(f"{option}.{name}.{key} is needed.")
