"""Types of values of mathematical answers, which `drpt.rewards.mathematics.reading` reads from expressions."""

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """An exact rational number."""

    value: Fraction
    source: str
    is_percent: bool = False
    unit: str = ""
    # Number of decimals and of significant digits, if written as a decimal number, which may have been rounded.
    decimals: int | None = None
    digits: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """Several values in brackets, in a set, in a ratio, or in a bare list."""

    kind: str  # ``()``, ``[]``, ``(]`` or ``[)``; ``{}`` = set; ``:`` = ratio; empty = bare list
    items: tuple["Value", ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Equation:
    """A name and its value: ``x = 5``."""

    name: str
    value: "Value"
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InBase:
    """A number in another base: ``204_5``."""

    digits: str
    base: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A text, compared literally."""

    text: str  # lower case, without spaces and brackets
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """Any other expression, which `drpt.rewards.mathematics.formulas.formula_of` reads with sympy."""

    source: str
    unit: str = field(default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounded:
    """A constant together with its rounded value: ``1/6 ≈ 0.1667``."""

    exact: "Value"
    near: Number
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The letter of a multiple-choice answer together with its content: ``(C) 5``."""

    letter: str  # lower case
    value: "Value"
    source: str


Value = Number | Several | Equation | InBase | Words | Formula | Rounded | Choice
