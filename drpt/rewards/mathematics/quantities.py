r"""Splits a quantity into its number, a number word such as "million", and its unit.

- Number words scale: ``5 million`` is 5000000, ``3 dozen`` 36 and ``5 tenths`` 1/2 (a billion is 10^9).
- Units are those of `drpt.rewards.mathematics.units`; in ``\text{…}``, in a box or after ``####`` also things counted, see
  `drpt.rewards.mathematics.vocabulary`. All other letters beside a number are variables: ``3R^2``, ``5 xyz``.
"""

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from drpt.rewards.mathematics.signs import CURRENCY
from drpt.rewards.mathematics.units import known_unit, may_touch
from drpt.rewards.mathematics.vocabulary import things_counted

_MULTIPLES = {
    "hundred": Fraction(100),
    "thousand": Fraction(10**3),
    "million": Fraction(10**6),
    "billion": Fraction(10**9),
    "trillion": Fraction(10**12),
    "quadrillion": Fraction(10**15),
    "dozen": Fraction(12),
    "lakh": Fraction(10**5),
    "crore": Fraction(10**7),
}
_PARTS = {
    "half": Fraction(1, 2),
    "halve": Fraction(1, 2),  # singular form of "halves" as `_singular` returns it
    "third": Fraction(1, 3),
    "fourth": Fraction(1, 4),
    "fifth": Fraction(1, 5),
    "sixth": Fraction(1, 6),
    "seventh": Fraction(1, 7),
    "eighth": Fraction(1, 8),
    "ninth": Fraction(1, 9),
    "tenth": Fraction(1, 10),
    "hundredth": Fraction(1, 100),
    "thousandth": Fraction(1, 10**3),
    "millionth": Fraction(1, 10**6),
    "billionth": Fraction(1, 10**9),
}  # without "quarter", which may be a coin
MULTIPLE = rf"(?:(?:{'|'.join(_MULTIPLES)})s?(?![a-zA-Z]))"  # regular expression
PART = rf"(?:(?:{'|'.join(_PARTS)})s(?![a-zA-Z]))"  # regular expression; plurals only, because of "3 third graders"
_SIZED = re.compile(
    rf"(.*[\d)}}])\s*-?\s*(?:\\text\s*\{{\s*)?(?:((?:{MULTIPLE}\s*)+)(.*)|({PART})\s*\}}?)", re.IGNORECASE | re.DOTALL
)
_ONE_PART = re.compile(rf"1\s*-?\s*(?:\\text\s*\{{\s*)?({'|'.join(_PARTS)})\s*\}}?", re.IGNORECASE)
_POWER = r"((?:\s*\^\s*(?:\{\s*\d\s*\}|\d))?)"
_IN_TEXT = re.compile(rf"(.*[\d)}}\w])\s*\\text\s*\{{([^{{}}]*)\}}\s*{_POWER}")
_RATE = re.compile(r"(?<=[\d)}])\s*(?:\\text\s*\{\s*)?(?:(?:/|per|an?)\s*[a-zA-Z]+|each|apiece)\s*\}?$")  # $12 per hour
_MONEY = re.compile(r"([-+]?)\s*\\text\{(euro|pound|yen|rupee)\}\s*(\d.*)", re.DOTALL)
_FRACTION_IN_TEXT = re.compile(r"\s*\}\s*/\s*\\text\s*\{\s*")  # \text{km} / \text{h}
_IN_WORDS = re.compile(rf"(.*[\d)}}])( ?)([a-zA-Z][a-zA-Z ./'^\d\-]*?)\s*{_POWER}")
_SCALE_OF_DEGREES = re.compile(r"(.*)\^\\circ\s*(?:\\text\s*\{\s*)?([CF])(?:\s*\})?")
_RESIDUE = re.compile(r"(.*?)\s*(?:\\pmod|\(\s*\\?mod)(?![a-zA-Z])\s*\{?\s*(\d+)\s*\}?\s*\)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number with a scale and a unit."""

    body: str  # text without number word, unit and percent sign
    size: Fraction = Fraction(1)  # factor of the body
    unit: str = ""
    is_percent: bool = False


def split(text: str, *, is_marked: bool) -> Quantity:
    """Split a text into body, size and unit.

    Args:
        text: Expression in the form returned by `drpt.rewards.mathematics.signs.normal`.
        is_marked: Whether the text is marked as an answer; see `drpt.rewards.mathematics.reading.read`.

    Returns:
        The parts; the whole text is the body if neither a number word nor a unit is recognised.
    """
    body, currency = _FRACTION_IN_TEXT.sub("/", text), ""
    if CURRENCY in body:
        before, _, after = body.partition(CURRENCY)
        if before.strip() in {"", "-", "+"} or not after.strip():
            body, currency = _RATE.sub("", before + after).strip(), "dollar"
    elif money := _MONEY.fullmatch(body):
        body, currency = _RATE.sub("", money[1] + money[3]).strip(), money[2]
    if body.endswith("%"):
        return Quantity(body=body[:-1].strip(), unit=currency, is_percent=True)
    degrees = _SCALE_OF_DEGREES.fullmatch(body)
    if degrees:
        return Quantity(body=degrees[1].strip(), unit=f"°{degrees[2]}")
    if body.endswith("^\\circ"):
        return Quantity(body=body.removesuffix("^\\circ").strip(), unit="degree")
    residue = _RESIDUE.fullmatch(body)
    if residue:
        return Quantity(body=residue[1].strip(), unit=f"mod {residue[2]}")
    sized = _sized(body, is_marked)
    if sized is not None:
        return Quantity(body=sized.body, size=sized.size, unit=currency or sized.unit)
    body, unit = _without_unit(body, is_marked)
    return Quantity(body=body, unit=currency or unit)


def _sized(text: str, is_marked: bool) -> Quantity | None:
    """Split off number words, after which only a unit may follow (5 million dollars); None if there are none."""
    one = _ONE_PART.fullmatch(text)
    if one:
        return Quantity(body="1", size=_PARTS[one[1].casefold()])
    found = _SIZED.fullmatch(text)
    if found is None:
        return None
    body = found[1].strip()
    if found[4]:
        return Quantity(body=body, size=_PARTS[_singular(found[4])])
    size = math.prod((_MULTIPLES[_singular(word)] for word in found[2].split()), start=Fraction(1))
    rest = found[3]
    if rest.count("}") > rest.count("{"):  # the end of \\text{ million}
        rest = rest.replace("}", "", 1)
    if not rest.strip():
        return Quantity(body=body, size=size)
    counted, unit = _without_unit(f"2 {rest.strip()}", is_marked)
    return Quantity(body=body, size=size, unit=unit) if counted == "2" and unit else None


def _singular(word: str) -> str:
    return word.casefold().removesuffix("s")


def _without_unit(text: str, is_marked: bool) -> tuple[str, str]:
    """Split off the unit, which is empty if there is none."""
    in_text = _IN_TEXT.fullmatch(text)
    if in_text and re.search(r"\d|\\pi|\\sqrt", in_text[1]):
        unit = _unit(in_text[2], in_text[3], is_text=True, body=in_text[1])
        return (text, "") if unit is None else (in_text[1].strip(), unit)
    in_words = _IN_WORDS.fullmatch(text)
    if in_words is None:
        return text, ""
    body, space, words, power = in_words.groups()
    if not space and not may_touch(words + power):
        return text, ""
    unit = _unit(words, power, is_text=False, body=body) if is_marked else known_unit(words + power, is_text=False)
    return (text, "") if unit is None else (body.strip(), unit)


def _unit(words: str, power: str, *, is_text: bool, body: str) -> str | None:
    known = known_unit(words + power, is_text=is_text)
    if known is not None or power:
        return known
    return things_counted(words, is_text=is_text, is_one=body.strip() == "1")
