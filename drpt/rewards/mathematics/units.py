"""Units after a number: which words are units, and which of them are the same."""

import re

# Each line: names of one unit, its plural and foreign spelling aside.
_SAME = (
    ("dollar", "usd", "¤"),
    ("cent", "¢"),
    ("euro", "eur"),
    ("pound", "lb"),
    ("degree", "deg", "°"),
    ("mm", "millimeter", "millimetre"),
    ("cm", "centimeter", "centimetre"),
    ("m", "meter", "metre"),
    ("km", "kilometer", "kilometre"),
    ("inch", "in"),
    ("foot", "feet", "ft"),
    ("yard", "yd"),
    ("mile", "mi"),
    ("mg", "milligram"),
    ("g", "gram"),
    ("kg", "kilogram"),
    ("ounce", "oz"),
    ("ml", "milliliter", "millilitre"),
    ("l", "liter", "litre"),
    ("gallon", "gal"),
    ("s", "second", "sec"),
    ("min", "minute"),
    ("h", "hour", "hr"),
    ("day",),
    ("week",),
    ("month",),
    ("year", "yr"),
    ("unit",),
    ("mph", "mile per hour", "mile/hour"),
    ("kmh", "km/h", "kilometer per hour", "kilometer/hour"),
    ("m/s", "meter per second", "meter/second"),
)
_NAMES = {name: same[0] for same in _SAME for name in same}
_POWERS = {"square": "^2", "sq": "^2", "cubic": "^3", "cu": "^3"}
_WORD = re.compile(r"[a-zA-Z°¤¢][a-zA-Z/.]*")


def unit_of(words: str) -> str:
    """One name for the same unit: ``square centimeters``, ``cm²`` and ``cm^2`` are ``cm^2``.

    Args:
        words: What stands after a number.

    Returns:
        The unit; what is not known comes back in small letters without a plural's s.
    """
    words = re.sub(r"[{}.]|\\circ", "", words.casefold()).strip()
    words = re.sub(r"\s+", " ", words)
    first, _, rest = words.partition(" ")
    if first in _POWERS and rest:
        return unit_of(rest) + _POWERS[first]
    name, caret, power = words.partition("^")
    name = name.strip()
    singular = next((form for form in (name, name.removesuffix("s"), name.removesuffix("es")) if form in _NAMES), None)
    singular = _NAMES[singular] if singular is not None else name.removesuffix("s")
    return singular + caret + power.strip()


def is_unit(words: str) -> bool:
    """Whether words are a unit that is known here; one letter alone is rather a variable."""
    name = unit_of(words)
    return len(words.strip()) > 1 and (name.partition("^")[0] in set(_NAMES.values()))
