"""What is known of a feasible set or a score without importing its class: no torch, so that ``drpt`` starts at once.

Help, tables, `drpt explain`, the probe and the rules for values read these entries and nothing else, so a set from outside the
package that carries an entry is treated like the package's own.
"""

from dataclasses import dataclass

AUTO = "auto"  # in place of a number: the strength with the smallest estimated error, see `drpt.geometry.auto`
MOST = 1e6  # the largest strength without an end, and the largest step size: what they tend to is reached to six digits


# --8<-- [start:entry]
@dataclass(frozen=True)
class Strength:
    """The domain of a set's strength λ: ``low`` to ``high``, but no more than `MOST`; larger is stronger."""

    low: float  # lower end of the domain
    high: float  # upper end, which is always included
    is_low_included: bool  # whether the lower end itself is a strength
    meaning: str  # what λ is
    at_low: str  # what the set becomes at the lower end
    at_high: str  # what the set becomes at the upper end
    is_optional: bool = False  # whether strength=null stands for the lower end

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

    name: str  # one word, for the legend and for --families
    colour: str  # such as #0072B2
    strengths: tuple[float, ...] = ()  # strengths λ from weak to strong; one alone where the relaxation is the dial
    relaxations: tuple[float, ...] = ()  # relaxations ρ from weak to strong
    score: str = "alignment"  # score that ranks the examples, for sets that take one
    has_auto: bool = False  # whether strength=auto is measured, too: a point beside the curve
    is_standard: bool = True  # whether the curve is measured when --families is not given


@dataclass(frozen=True)
class SetEntry:
    """One feasible set: where its class is, what it is, and which dials belong to it."""

    formula: str  # the set F, such as {t ḡ : 0 ≤ t ≤ 1/λ}
    update: str  # the update u, in words
    source: str  # who published the set, or what it is known as
    target: str = ""  # dotted path of the class; an entry on the class itself leaves it out
    relatives: str = ""  # sets that this one equals, contains or tends to
    strength: Strength | None = None  # domain of λ; None for a set without a strength
    takes_score: bool = False  # whether a score ranks the examples; the class has the same attribute
    uses_general: bool = True  # whether general examples have a part in the update; the class has the same attribute
    needs_sign: bool = False  # whether the score must say by its sign which examples point against the target
    takes_step_size: bool = False  # whether the constructor takes regularizer.step_size
    chooses: bool = False  # whether the update is a mean of chosen examples: choice_scope=phase is then possible
    max_general: int | None = None  # largest number of general examples in a step; None for no limit
    is_alike: bool = False  # whether all blocks get the same coefficients, so that partitions make no difference
    auto_grid: tuple[float, ...] = ()  # strengths that strength=auto chooses from
    is_auto_closed: bool = False  # whether the best strength has a closed form instead
    curves: tuple[Curve, ...] = ()  # what drpt probe measures

    # --8<-- [end:entry]
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
