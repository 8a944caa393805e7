r"""Decides whether the values of an answer and of a reference are equal.

- Numbers must be exactly equal, with one exception: a decimal number with at least six digits equals a number without a finite
  decimal form (1/3, √2, π) if it is that number rounded: 0.333333 equals 1/3, but 0.3333 does not.
- A percent sign divides by 100: 50 % equals 0.5. It may also be missing or superfluous if the plain number is at least 1:
  50 % equals 50, but 0.5 % does not equal 0.5.
- A unit may be missing on one side; different units are unequal. The symbol of a unit also equals the same letters as
  variables.
- A constant with its rounded value (``1/6 ≈ 0.1667``) equals both.
- The order in a bare list or a set does not matter. Brackets may be missing on one side, and then the order matters; brackets
  of different kinds are unequal (``(1,2)`` and ``[1,2]``).
- For a choice with its content, ``(C) 5``, the letter is compared with a letter, and the content with anything else.
- A list of named values (``x = 3, y = 4``) equals a list without names only in the same order.
- An equation equals the value of its side: ``x = 5`` equals 5; equations with different names are unequal.
"""

import re
from collections.abc import Sequence
from fractions import Fraction

from drpt.rewards.mathematics.formulas import are_equal, formula_of, is_zero, rounded
from drpt.rewards.mathematics.units import as_product
from drpt.rewards.mathematics.values import Choice, Equation, Formula, InBase, Number, Rounded, Several, Value, Words
from drpt.rewards.mathematics.vocabulary import is_name

_LEAST_DIGITS = 6


def equal(first: Value, second: Value) -> bool:
    """Compare two values; their order does not matter.

    Args:
        first: Value returned by `drpt.rewards.mathematics.reading.read`.
        second: Another value returned by it.

    Returns:
        True if they are equal by the rules above; False if they are not, or if equality cannot be proved.
    """
    if isinstance(first, Choice) or isinstance(second, Choice):
        return _choices(first, second)
    if isinstance(first, Rounded) and isinstance(second, Rounded):
        return equal(first.exact, second.exact)
    if isinstance(first, Equation) or isinstance(second, Equation):
        return _equations(first, second)
    if isinstance(first, Rounded):
        return equal(first.exact, second) or equal(first.near, second)
    if isinstance(second, Rounded):
        return equal(second, first)
    if isinstance(first, Several) or isinstance(second, Several):
        return _collections(first, second)
    if isinstance(first, Number) and isinstance(second, Number):
        return _numbers(first, second)
    if isinstance(first, InBase) or isinstance(second, InBase):
        return _in_bases(first, second)
    if isinstance(first, Words) or isinstance(second, Words):
        return _words(first, second)
    return _formulas(first, second)


def _choices(first: Value, second: Value) -> bool:
    if isinstance(first, Choice) and isinstance(second, Choice):
        return first.letter == second.letter and equal(first.value, second.value)
    ours, other = (first, second) if isinstance(first, Choice) else (second, first)
    assert isinstance(ours, Choice)
    if isinstance(other, Words | Formula) and re.fullmatch(r"[a-e]", _bare(other)):
        return _bare(other) == ours.letter
    return equal(ours.value, other)


def _equations(first: Value, second: Value) -> bool:
    if isinstance(first, Equation) and isinstance(second, Equation):
        if first.name == second.name:
            return equal(first.value, second.value)
        return _same_formulas(first.source, second.source) and "=" in first.source
    ours, other = (first, second) if isinstance(first, Equation) else (second, first)
    assert isinstance(ours, Equation)
    if isinstance(other, Formula) and any(sign in other.source for sign in ("=", "<", ">", "\\le", "\\ge")):
        return _same_formulas(ours.source, other.source)
    return equal(ours.value, other)


def _collections(first: Value, second: Value) -> bool:
    if not (isinstance(first, Several) and isinstance(second, Several)):
        several, other = (first, second) if isinstance(first, Several) else (second, first)
        assert isinstance(several, Several)
        if several.kind == "{}" and len(several.items) == 1:
            return equal(several.items[0], other)
        return isinstance(other, Formula) and _same_formulas(several.source, other.source)
    kinds = {first.kind, second.kind}
    if kinds == {""} and _num_names(first) != _num_names(second) and max(_num_names(first), _num_names(second)) > 1:
        return _are_equal_in_order(first.items, second.items)
    if kinds <= {"{}", ""}:
        ours, theirs = (_distinct(one.items) if "{}" in kinds else one.items for one in (first, second))
        return len(ours) == len(theirs) and _can_be_paired(ours, theirs)
    if len(kinds) == 2 and kinds not in ({"", "()"}, {"", "[]"}):
        return False
    return _are_equal_in_order(first.items, second.items)


def _are_equal_in_order(ours: Sequence[Value], theirs: Sequence[Value]) -> bool:
    return len(ours) == len(theirs) and all(equal(one, other) for one, other in zip(ours, theirs, strict=True))


def _num_names(several: Several) -> int:
    return len({item.name for item in several.items if isinstance(item, Equation)})


def _distinct(items: Sequence[Value]) -> list[Value]:
    found: list[Value] = []
    for item in items:
        if not any(equal(item, other) for other in found):
            found.append(item)
    return found


def _can_be_paired(ours: Sequence[Value], theirs: Sequence[Value]) -> bool:
    """Whether the items can be matched one to one with equal items (Kuhn's augmenting paths)."""
    partner: dict[int, int] = {}  # index in ``ours`` by index in ``theirs``

    def finds(one: int, seen: set[int]) -> bool:
        for other in range(len(theirs)):
            if other not in seen and equal(ours[one], theirs[other]):
                seen.add(other)
                if other not in partner or finds(partner[other], seen):
                    partner[other] = one
                    return True
        return False

    return all(finds(one, set()) for one in range(len(ours)))


def _numbers(first: Number, second: Number) -> bool:
    if first.unit and second.unit and first.unit != second.unit:
        return False
    if _same_number(first, second.value) or _same_number(second, first.value):
        return True
    if first.is_percent != second.is_percent and not (first.unit or second.unit):
        per_cent, plain = (first, second) if first.is_percent else (second, first)
        return abs(plain.value) >= 1 and per_cent.value * 100 == plain.value
    return False


def _same_number(written: Number, value: Fraction) -> bool:
    if written.value == value:
        return True
    if written.decimals is None or written.digits < _LEAST_DIGITS or _is_decimal(value):
        return False
    return Fraction(round(value * 10**written.decimals), 10**written.decimals) == written.value


def _is_decimal(value: Fraction) -> bool:
    """Whether a number has a finite decimal form."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def _in_bases(first: Value, second: Value) -> bool:
    if isinstance(first, InBase) and isinstance(second, InBase):
        return first.digits == second.digits and first.base == second.base
    ours, other = (first, second) if isinstance(first, InBase) else (second, first)
    assert isinstance(ours, InBase)
    return isinstance(other, Number) and other.source.upper() == ours.digits  # the answer leaves out the base


def _bare(value: Value) -> str:
    r"""Letters of a text or formula without decoration: ``(A)``, ``A`` and ``\text{A}`` become the same."""
    if isinstance(value, Words):
        return value.text
    return "".join(sign for sign in value.source.casefold() if sign not in " (){}\\.$")


def _words(first: Value, second: Value) -> bool:
    if _bare(first) == _bare(second):
        return True
    words, other = (first, second) if isinstance(first, Words) else (second, first)
    # A short word compared with a formula can be a product (kab and abk), but names are not (SAS and SSA).
    is_short = isinstance(words, Words) and len(words.source) <= 3 and not is_name(words.source)
    return is_short and isinstance(other, Formula) and _same_formulas(words.source, other.source)


def _formulas(first: Value, second: Value) -> bool:
    units = [one.unit for one in (first, second) if isinstance(one, Number | Formula) and one.unit]
    if len(units) == 2 and units[0] != units[1]:
        return False
    for written, other in ((first, second), (second, first)):
        if isinstance(written, Number) and isinstance(other, Formula):
            product = as_product(written.unit)
            if product and not other.unit and _same_formulas(f"({written.value})*{product}", other.source):
                return True
            formula = formula_of(other.source)
            if formula is None or getattr(formula, "free_symbols", None):
                return False
            return _constant_equals(formula, written)
    return _same_formulas(first.source, second.source)


def _constant_equals(formula: object, written: Number) -> bool:
    import sympy

    if not isinstance(formula, sympy.Expr) or isinstance(formula, sympy.MatrixExpr) or formula.is_infinite:
        return False
    value = sympy.Rational(written.value.numerator, written.value.denominator)
    if is_zero(formula - value):
        return True
    if written.decimals is None or written.digits < _LEAST_DIGITS or formula.is_rational:
        return False
    return rounded(formula, written.decimals) == written.value


def _same_formulas(first: str, second: str) -> bool:
    if first == second:
        return True
    ours, theirs = formula_of(first), formula_of(second)
    return ours is not None and theirs is not None and are_equal(ours, theirs)
