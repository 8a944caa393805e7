"""The `regularizer` config group: its keys and the rules for their values, without torch."""

import re
from dataclasses import dataclass

from drpt.checks import check_choice, check_interval
from drpt.geometry.catalogue import SCORES, SETS, BaseWeights, Partition, ProductsMethod, Strength


def is_dotted_path(name: str) -> bool:
    """Whether ``name`` is the import path of a class from outside the package rather than a name of ours."""
    return "." in name


@dataclass(kw_only=True)
class RegularizerSpec:
    """One regularizer: a feasible set, how parameters are partitioned, what ranks examples, and how strong it is."""

    name: str  # the name in tables, charts and dashboards
    set: str  # a key of SETS, or a dotted path
    partition: str  # a value of Partition
    score: str  # a key of SCORES, or a dotted path
    strength: float | None  # the set's λ; null where the set has none
    relaxation: float  # ρ in [0, 1]: u = (1−ρ) P(v) + ρ v
    products: str  # a value of ProductsMethod
    base_weights: str  # a value of BaseWeights
    stopping_share: float  # share of the target examples held out of training to choose when to stop; 0 = never

    def __post_init__(self) -> None:
        """Check every value; no message needs the code to be understood.

        Raises:
            ValueError: A value breaks its rule; the message names option, value, rule and choices.
        """
        if not re.fullmatch(r"[\w.+-]+", self.name):
            raise ValueError(f"regularizer.name={self.name!r} must be one word: it names folders, lines and colours.")
        own = "; or the dotted path of a class of yours"
        if not is_dotted_path(self.set):
            check_choice("regularizer.set", self.set, SETS, own)
        if not is_dotted_path(self.score):
            check_choice("regularizer.score", self.score, SCORES, own)
        check_choice("regularizer.partition", self.partition, [member.value for member in Partition])
        check_choice("regularizer.products", self.products, [member.value for member in ProductsMethod])
        check_choice("regularizer.base_weights", self.base_weights, [member.value for member in BaseWeights])
        check_interval(
            "regularizer.relaxation",
            self.relaxation,
            low=0.0,
            high=1.0,
            meaning="0 keeps the projection, 1 is target-only training",
        )
        check_interval(
            "regularizer.stopping_share",
            self.stopping_share,
            low=0.0,
            high=1.0,
            is_high_included=False,
            meaning="the share of the target examples that is held out of training to choose when to stop; 0 for none",
        )
        if self.set == "filter" and self.score != "alignment" and not is_dotted_path(self.score):
            raise ValueError(
                f"regularizer.score={self.score!r}: the set 'filter' drops examples of negative score, so it needs one with a "
                "sign: alignment."
            )
        if self.set in SETS:
            self._check_strength(SETS[self.set].strength)

    @property
    def label(self) -> str:
        """Name and dials, as tables and charts show them: ``layerwise_subset λ=0.5``."""
        parts = [self.name]
        if self.strength is not None:
            parts.append(f"λ={self.strength:g}")
        if self.relaxation > 0.0:
            parts.append(f"ρ={self.relaxation:g}")
        return " ".join(parts)

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
            raise ValueError(f"regularizer.strength=null: the set {self.set!r} needs a strength in {domain}, {domain.meaning}.")
        if not domain.admits(self.strength):
            raise ValueError(
                f"regularizer.strength={self.strength} must lie in {domain} for the set {self.set!r}: {domain.meaning} "
                f"(towards {domain.low:g}: {domain.at_low}; {domain.high:g}: {domain.at_high})."
            )
