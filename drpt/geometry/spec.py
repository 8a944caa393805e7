"""The `regularizer` config group: its keys and the rules for their values, without torch."""

import math
from dataclasses import dataclass
from difflib import get_close_matches

from omegaconf import MISSING

from drpt.geometry.catalogue import SCORES, SETS, BaseWeights, Partition, ProductsMethod, Strength


def is_dotted_path(name: str) -> bool:
    """Whether ``name`` is the import path of a class from outside the package rather than a name of ours."""
    return "." in name


def _check_name(option: str, name: str, known: dict[str, object]) -> None:
    if name in known or is_dotted_path(name):
        return
    near = get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"{option}={name!r} is not known.{hint} Choices: {', '.join(sorted(known))}; "
        "or the dotted path of a class of yours."
    )


@dataclass(kw_only=True)
class RegularizerSpec:
    """One regularizer: a feasible set, how parameters are partitioned, what ranks examples, and how strong it is."""

    name: str = MISSING  # the name in tables, charts and dashboards
    set: str = MISSING  # a key of SETS, or a dotted path
    partition: Partition = MISSING
    score: str = MISSING  # a key of SCORES, or a dotted path
    strength: float | None = MISSING  # the set's λ; null where the set has none
    relaxation: float = MISSING  # ρ in [0, 1]: u = (1−ρ) P(v) + ρ v
    products: ProductsMethod = MISSING
    base_weights: BaseWeights = MISSING
    stopping_share: float = MISSING  # share of the target examples held out of training to stop early; 0 = never

    def __post_init__(self) -> None:
        """Check every value; no message needs the code to be understood.

        Raises:
            ValueError: A value breaks its rule; the message names option, value, rule and choices.
        """
        _check_name("regularizer.set", self.set, dict(SETS))
        _check_name("regularizer.score", self.score, dict(SCORES))
        if not 0.0 <= self.relaxation <= 1.0:
            raise ValueError(
                f"regularizer.relaxation={self.relaxation} must lie in [0, 1]: "
                "0 keeps the projection, 1 is target-only training."
            )
        if not 0.0 <= self.stopping_share < 1.0:
            raise ValueError(
                f"regularizer.stopping_share={self.stopping_share} must lie in [0, 1): the share of the target "
                "examples that is held out of training to choose when to stop."
            )
        if self.set in SETS:
            self._check_strength(SETS[self.set].strength)

    def _check_strength(self, domain: Strength | None) -> None:
        if domain is None:
            if self.strength is not None:
                raise ValueError(
                    f"regularizer.strength={self.strength}: the set {self.set!r} has no strength. "
                    "Leave it out (regularizer.strength=null), or choose a set that has one: "
                    f"{', '.join(name for name, entry in SETS.items() if entry.strength)}."
                )
            return
        if self.strength is None:
            raise ValueError(
                f"regularizer.strength=null: the set {self.set!r} needs a strength in {domain}, {domain.meaning}."
            )
        if math.isnan(self.strength) or not domain.admits(self.strength):
            raise ValueError(
                f"regularizer.strength={self.strength} must lie in {domain} for the set {self.set!r}: {domain.meaning} "
                f"(towards {domain.low:g}: {domain.at_low}; {domain.high:g}: {domain.at_high})."
            )
