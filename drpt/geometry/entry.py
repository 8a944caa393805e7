"""What is known of a feasible set or a score without importing its class: no torch, so that ``drpt`` starts at once.

Help, tables, `drpt explain`, the probe and the rules for values read these entries and nothing else, so a set from outside the
package that carries an entry is treated like the package's own.
"""

from dataclasses import dataclass

AUTO = "auto"  # in place of a number: the strength with the smallest estimated error, see `drpt.geometry.auto`
MOST = 1e6  # the largest strength without an end, and the largest step size: what they tend to is reached to six digits


@dataclass(frozen=True)
class Strength:
    """The domain of a set's strength λ: ``low`` to ``high``, but no more than `MOST`; larger is stronger."""

    low: float
    high: float
    is_low_included: bool
    meaning: str  # what λ is
    at_low: str  # what the set comes to at the lower end
    at_high: str  # what it comes to at the upper end
    is_optional: bool = False  # whether null stands for ``low``

    def admits(self, value: float) -> bool:
        """Whether ``value`` lies in the domain; NaN and infinity do not."""
        is_above = self.low <= value if self.is_low_included else self.low < value
        return is_above and value <= min(self.high, MOST)

    def __str__(self) -> str:
        """The interval, as mathematicians write it."""
        return f"{'[' if self.is_low_included else '('}{self.low:g}, {min(self.high, MOST):g}]"


@dataclass(frozen=True)
class Curve:
    """One curve of the bias–variance chart: the set under the strengths or relaxations that the probe measures."""

    name: str  # one word
    colour: str  # such as ``#0072B2``
    strengths: tuple[float, ...] = ()  # from weak to strong; a single one where the relaxation is the dial
    relaxations: tuple[float, ...] = ()  # ρ, from weak to strong
    score: str = "alignment"
    has_auto: bool = False  # whether the strength is also chosen automatically: a point beside the curve
    is_standard: bool = True  # whether it is measured unless families are named


@dataclass(frozen=True)
class SetEntry:
    """One feasible set: where its class is, what it is, and which dials belong to it."""

    formula: str
    update: str  # the update that it gives, in words
    source: str  # who published it, or what it is known as
    target: str = ""  # dotted path of the class; may be left out on the class itself
    relatives: str = ""  # what it is equal to, contains or tends to
    strength: Strength | None = None
    takes_score: bool = False  # as the class says
    needs_sign: bool = False  # whether the score must have a sign
    takes_step_size: bool = False
    chooses: bool = (
        False  # whether an example is in its mean or has no part in it: such a choice can be made once a rollout phase
    )
    max_general: int | None = None  # most general examples in a step; None for no limit
    is_alike: bool = False  # whether the coefficients are the same in every block: partitions make no difference
    auto_grid: tuple[float, ...] = ()  # strengths that `auto` chooses from
    is_auto_closed: bool = False  # whether the best strength has a closed form instead
    curves: tuple[Curve, ...] = ()  # what the probe measures

    @property
    def offers_auto(self) -> bool:
        """Whether ``strength=auto`` can be chosen."""
        return self.is_auto_closed or bool(self.auto_grid)


@dataclass(frozen=True)
class ScoreEntry:
    """One way of ranking examples."""

    meaning: str
    target: str = ""  # dotted path of the class; may be left out on the class itself
    is_signed: bool = False  # whether a negative score says that an example points against the target
