"""The values of mathematical answers; `drpt.rewards.mathematics.reading` finds them in an expression."""

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A rational number, exact."""

    value: Fraction
    source: str
    is_percent: bool = False
    unit: str = ""
    # Decimals and significant digits where it is written as a decimal number: how far it can be a rounded one.
    decimals: int | None = None
    digits: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """Values between brackets (``()``, ``[]``, ``(]``, ``[)``), in a set (``{}``), a ratio (``:``) or a bare list (empty)."""

    kind: str
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
    """Digits of another base: ``204_5``."""

    digits: str
    base: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Text, compared as such."""

    text: str  # in small letters, without spaces and brackets
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """Whatever sympy reads besides; `drpt.rewards.mathematics.formulas.formula_of` has it."""

    source: str
    unit: str = field(default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounded:
    """A constant, and beside it the number to which it rounds: ``1/6 ≈ 0.1667``."""

    exact: "Value"
    near: Number
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A letter of several choices, and what it stands for: ``(C) 5``."""

    letter: str  # small
    value: "Value"
    source: str


Value = Number | Several | Equation | InBase | Words | Formula | Rounded | Choice
