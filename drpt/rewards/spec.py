"""The `reward` config group: its keys and rules, without torch."""

from dataclasses import dataclass
from typing import Any

from drpt.checks import check_interval


@dataclass(kw_only=True)
class RewardSpec:
    """A weighted sum of terms."""

    name: str  # in tables and dashboards
    # Each term: ``_target_``, the dotted path of a class; ``weight``; and the class's own keys. Any: values of several kinds.
    terms: dict[str, dict[str, Any]]

    def __post_init__(self) -> None:
        """Check the values; what a term's own keys may be, `drpt.rewards.build` knows.

        Raises:
            ValueError: A value breaks its rule.
        """
        if not self.terms:
            raise ValueError("reward.terms={}: a reward needs at least one term.")
        for name, term in self.terms.items():
            if not name.isidentifier():
                raise ValueError(
                    f"reward.terms: the name {name!r} becomes part of metrics' names: letters, digits and _ alone."
                )
            for key in ("_target_", "weight"):
                if key not in term:
                    raise ValueError(f"reward.terms.{name}.{key} is needed.")
            meaning, weight = "what the term's value is multiplied by", term["weight"]
            if isinstance(weight, bool) or not isinstance(weight, int | float):
                raise ValueError(f"reward.terms.{name}.weight={weight!r} must be a number: {meaning}.")
            check_interval(f"reward.terms.{name}.weight", weight, low=-1e6, high=1e6, meaning=meaning)
