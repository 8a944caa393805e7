"""What a projection is, in plain values, and the rules for them; torch comes only with a class from outside the package."""

from dataclasses import dataclass
from typing import Any

from drpt.checks import check_choice, check_interval
from drpt.geometry.catalogue import SCORES, SETS
from drpt.geometry.entry import AUTO, MOST, ScoreEntry, SetEntry, Strength
from drpt.geometry.lookup import is_dotted_path, score_entry, set_entry


@dataclass(kw_only=True)
class ProjectionSpec:
    """A feasible set, what ranks examples for it, and how strong it is; keys of the config group `regularizer`."""

    set: str  # a key of SETS, or a dotted path
    score: str  # a key of SCORES, or a dotted path
    strength: Any  # Any: a number, auto or null; the set's λ, null where the set has none
    relaxation: Any  # Any: a number or auto; ρ in [0, 1]: u = (1−ρ) P(v) + ρ v
    step_size: float | None  # η, for sets that take one
    auto_memory: float  # of automatic dials: weight of past steps' average against the newest step's estimate

    def __post_init__(self) -> None:
        """Check every value; no message needs the code to be understood.

        Raises:
            ValueError: A value breaks its rule; the message names option, value, rule and choices.
        """
        own = "; or the dotted path of a class of yours"
        if not is_dotted_path(self.set):
            check_choice("regularizer.set", self.set, SETS, own)
        if not is_dotted_path(self.score):
            check_choice("regularizer.score", self.score, SCORES, own)
        self.strength = _number_or_auto("regularizer.strength", self.strength)
        relaxation = _number_or_auto("regularizer.relaxation", self.relaxation)
        if relaxation is None:
            raise ValueError("regularizer.relaxation=null must be a number in [0, 1], or auto; 0 keeps the projection.")
        self.relaxation = relaxation
        if not isinstance(relaxation, str):
            check_interval(
                "regularizer.relaxation",
                relaxation,
                low=0.0,
                high=1.0,
                meaning="0 keeps the projection, 1 is target-only training",
            )
        check_interval(
            "regularizer.auto_memory",
            self.auto_memory,
            low=0.0,
            high=1.0,
            is_high_included=False,
            meaning="how much of past steps' estimates an automatic strength keeps; 0 looks at the step alone",
        )
        entry, score = self.entry, self.score_entry
        if entry is not None:
            if entry.needs_sign and score is not None and not score.is_signed:
                signed = ", ".join(name for name, other in SCORES.items() if other.is_signed)
                raise ValueError(
                    f"regularizer.score={self.score!r}: the set {self.set!r} drops examples of negative score, so it needs one "
                    f"with a sign: {signed}."
                )
            self._check_strength(entry.strength)
            self._check_step_size(entry.takes_step_size)
        elif self.strength == AUTO:
            raise ValueError(
                f"regularizer.strength=auto: the class {self.set} names no strengths to choose from. Give it an entry with an "
                "auto_grid (drpt.geometry.entry.SetEntry), or choose regularizer.relaxation=auto."
            )

    @property
    def entry(self) -> SetEntry | None:
        """What is known of the set; None for a class from outside that says nothing."""
        return set_entry(self.set)

    @property
    def score_entry(self) -> ScoreEntry | None:
        """What is known of the score; None for a class from outside that says nothing."""
        return score_entry(self.score)

    @property
    def is_auto(self) -> bool:
        """Whether a dial is chosen in every step, from the spread among its target examples."""
        return AUTO in {self.strength, self.relaxation}

    @property
    def dials(self) -> list[str]:
        """The dials that are in use, as tables and charts show them: ``λ=0.5``, ``ρ=auto``."""
        found = []
        if self.strength is not None:
            found.append(f"λ={_shown(self.strength)}")
        if self.relaxation != 0.0:
            found.append(f"ρ={_shown(self.relaxation)}")
        return found

    def _check_strength(self, domain: Strength | None) -> None:
        if domain is None:
            if self.strength is not None:
                raise ValueError(
                    f"regularizer.strength={self.strength}: the set {self.set!r} has no strength. "
                    "Leave it out (regularizer.strength=null), or choose a set that has one: "
                    f"{', '.join(name for name, entry in SETS.items() if entry.strength)}."
                )
            return
        if self.strength is None and domain.is_optional:
            self.strength = domain.low
        if self.strength is None:
            raise ValueError(f"regularizer.strength=null: the set {self.set!r} needs a strength in {domain}, {domain.meaning}.")
        if self.strength == AUTO:
            self._check_auto()
        elif MOST < float(self.strength) <= domain.high:
            raise ValueError(
                f"regularizer.strength={self.strength} must lie in {domain} for the set {self.set!r}: {domain.meaning}. At "
                f"{MOST:g} it has come to its end, {domain.at_high}, to six digits; give that or less."
            )
        elif not domain.admits(float(self.strength)):
            raise ValueError(
                f"regularizer.strength={self.strength} must lie in {domain} for the set {self.set!r}: {domain.meaning} "
                f"(towards {domain.low:g}: {domain.at_low}; {domain.high:g}: {domain.at_high})."
            )

    def _check_auto(self) -> None:
        entry = self.entry
        assert entry is not None
        if entry.is_auto_closed and self.relaxation != 0.0:
            raise ValueError(
                f"regularizer.relaxation={self.relaxation}: with regularizer.strength=auto the set {self.set!r} has one dial "
                "already, u = λ ḡ + (1−λ) v. Leave the relaxation at 0."
            )
        if not entry.offers_auto:
            able = [name for name, other in SETS.items() if other.offers_auto]
            raise ValueError(
                f"regularizer.strength=auto is not offered for the set {self.set!r}. Give a number in {entry.strength}, choose "
                f"one of {', '.join(able)}, or set regularizer.relaxation=auto."
            )

    def _check_step_size(self, is_taken: bool) -> None:
        if is_taken != (self.step_size is not None) or (self.step_size is not None and not 0.0 < self.step_size <= MOST):
            takers = ", ".join(name for name, entry in SETS.items() if entry.takes_step_size)
            raise ValueError(
                f"regularizer.step_size={self.step_size}: the set {self.set!r} "
                + (
                    f"needs a positive one of at most {MOST:g}, such as ${{optimizer.lr}}."
                    if is_taken
                    else f"has none; {takers} has. Set it to null."
                )
            )


def _number_or_auto(option: str, value: object) -> float | str | None:
    if value is None or value == AUTO:
        return None if value is None else AUTO
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{option}={value!r} must be a number or {AUTO}.")
    return float(value)


def _shown(dial: float | str) -> str:
    return dial if isinstance(dial, str) else f"{dial:g}"
