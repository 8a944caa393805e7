"""The `regularizer` config group: its keys and the rules for their values, without torch."""

import re
from dataclasses import dataclass
from typing import Any

from drpt.capture.options import BaseWeights, ChoiceScope, Partition, ProductsMethod, RegularizedParameters
from drpt.checks import check_choice, check_interval
from drpt.geometry.catalogue import SCORES, SETS  # noqa: F401  # the fields' comments name them, see drpt.app.key_reference
from drpt.geometry.entry import SetEntry
from drpt.geometry.lookup import set_entry
from drpt.geometry.spec import ProjectionSpec

# A value of `choice_scope`: one choice for a whole rollout phase, before it is trained on. Without responses, refused.
PHASE = "phase"


@dataclass(kw_only=True)
class RegularizerSpec:
    """One regularizer: a projection, the blocks it acts in, and how its choice is carried out."""

    name: str  # the name in tables, charts and dashboards
    set: str  # a key of SETS, or a dotted path
    partition: str  # a value of Partition
    score: str  # a key of SCORES, or a dotted path
    # Any: numbers or a word, checked by `ProjectionSpec`; OmegaConf 2.3 cannot merge a section that holds a union of the two.
    strength: Any  # the set's λ, or auto; null where the set has none
    relaxation: Any  # ρ in [0, 1], or auto: u = (1−ρ) P(v) + ρ v
    step_size: float | None  # η, for sets that take one, such as greedy_greats
    auto_memory: float  # of automatic dials: weight of past steps' average against the newest step's estimate
    products: str  # a value of ProductsMethod
    parameters: str  # a value of RegularizedParameters
    choice_scope: str  # a value of ChoiceScope, or PHASE
    base_weights: str  # a value of BaseWeights
    stopping_share: float  # share of the target examples held out of training to choose when to stop; 0 = never

    def __post_init__(self) -> None:
        """Check every value; no message needs the code to be understood.

        Raises:
            ValueError: A value breaks its rule; the message names option, value, rule and choices.
        """
        if not re.fullmatch(r"[\w.+-]+", self.name):
            raise ValueError(f"regularizer.name={self.name!r} must be one word: it names folders, lines and colours.")
        check_choice("regularizer.partition", self.partition, [member.value for member in Partition])
        check_choice("regularizer.products", self.products, [member.value for member in ProductsMethod])
        check_choice("regularizer.parameters", self.parameters, [member.value for member in RegularizedParameters])
        check_choice("regularizer.choice_scope", self.choice_scope, [*(member.value for member in ChoiceScope), PHASE])
        check_choice("regularizer.base_weights", self.base_weights, [member.value for member in BaseWeights])
        check_interval(
            "regularizer.stopping_share",
            self.stopping_share,
            low=0.0,
            high=1.0,
            is_high_included=False,
            meaning="the share of the target examples that is held out of training to choose when to stop; 0 for none",
        )
        projection = self.projection
        self.strength, self.relaxation = projection.strength, projection.relaxation

    @property
    def projection(self) -> ProjectionSpec:
        """Set, score and dials, checked."""
        return ProjectionSpec(
            set=self.set,
            score=self.score,
            strength=self.strength,
            relaxation=self.relaxation,
            step_size=self.step_size,
            auto_memory=self.auto_memory,
        )

    @property
    def entry(self) -> SetEntry | None:
        """What is known of the set; None for a class from outside that says nothing."""
        return set_entry(self.set)

    @property
    def is_auto(self) -> bool:
        """Whether a dial is chosen in every step, from the spread among its target examples."""
        return self.projection.is_auto

    @property
    def chooses_by_phase(self) -> bool:
        """Whether a choice is made for a whole rollout phase."""
        return self.choice_scope == PHASE

    @property
    def label(self) -> str:
        """Name and dials, as tables and charts show them: ``layerwise_subset λ=0.5``."""
        return " ".join([self.name, *self.projection.dials])
