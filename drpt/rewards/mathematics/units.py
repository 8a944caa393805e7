r"""Units of measurement: the words and symbols that are recognised as units, and which of them are equal.

Only the units listed here are recognised. A symbol that could be a product of variables (``mg``, ``m``, ``in``) is a unit only
if a space or ``\text{…}`` separates it from the number: ``5 m`` is five meters, ``5m`` is 5 times m. A single capital letter
(``N``) needs ``\text{…}``. Only lengths have squares and cubes: ``16 m^2`` is an area, ``3 s^2`` a product. Case matters where
it distinguishes units (mW, MW).
"""

import re
from collections import Counter

# Symbols and singular words by the name of the unit.
_LENGTHS = {
    "mm": ("mm", "millimeter millimetre"),
    "cm": ("cm", "centimeter centimetre"),
    "dm": ("dm", "decimeter decimetre"),
    "m": ("m", "meter metre"),
    "km": ("km", "kilometer kilometre"),
    "in": ("in", "inch inche"),
    "ft": ("ft", "foot feet"),
    "yd": ("yd yds", "yard"),
    "mi": ("mi", "mile"),
    "unit": ("", "unit"),
}
_OTHERS = {
    "dollar": ("¤", "dollar usd buck"),
    "cent": ("¢", "cent"),
    "euro": ("", "euro eur"),
    "pound": ("", "pound"),  # money or weight
    "lb": ("lb lbs", ""),
    "yen": ("", "yen"),
    "rupee": ("", "rupee"),
    "yuan": ("", "yuan"),
    "peso": ("", "peso"),
    "degree": ("° deg", "degree"),
    "°C": ("°C", "celsius"),
    "°F": ("°F", "fahrenheit"),
    "rad": ("rad", "radian"),
    "μg": ("μg µg", "microgram"),
    "mg": ("mg", "milligram"),
    "g": ("g", "gram gramme"),
    "kg": ("kg kgs", "kilogram kilo"),
    "ton": ("", "ton tonne"),
    "oz": ("oz", "ounce"),
    "ml": ("ml mL", "milliliter millilitre"),
    "cl": ("cl cL", "centiliter centilitre"),
    "l": ("l L", "liter litre"),
    "gal": ("gal", "gallon"),
    "qt": ("qt", "quart"),
    "pt": ("pt", "pint"),
    "cup": ("", "cup"),
    "acre": ("", "acre"),
    "ha": ("ha", "hectare"),
    "ns": ("ns", "nanosecond"),
    "ms": ("ms", "millisecond"),
    "s": ("s sec secs", "second"),
    "min": ("min mins", "minute"),
    "h": ("h hr hrs", "hour"),
    "day": ("", "day"),
    "week": ("wk wks", "week"),
    "month": ("mo", "month"),
    "year": ("yr yrs", "year"),
    "am": ("am AM a.m. A.M.", ""),
    "pm": ("pm PM p.m. P.M.", ""),
    "Hz": ("Hz", "hertz"),
    "kHz": ("kHz", "kilohertz"),
    "MHz": ("MHz", "megahertz"),
    "N": ("N", "newton"),
    "kN": ("kN", "kilonewton"),
    "Pa": ("Pa", "pascal"),
    "kPa": ("kPa", "kilopascal"),
    "atm": ("atm", "atmosphere"),
    "J": ("J", "joule"),
    "kJ": ("kJ", "kilojoule"),
    "MJ": ("MJ", "megajoule"),
    "cal": ("cal", "calorie"),
    "kcal": ("kcal", "kilocalorie"),
    "eV": ("eV", "electronvolt"),
    "mW": ("mW", "milliwatt"),
    "W": ("W", "watt"),
    "kW": ("kW", "kilowatt"),
    "MW": ("MW", "megawatt"),
    "kWh": ("kWh", "kilowatt-hour"),
    "V": ("V", "volt"),
    "mA": ("mA", "milliampere milliamp"),
    "A": ("A", "ampere amp"),
    "ohm": ("Ω", "ohm"),
    "C": ("C", "coulomb"),
    "F": ("F", "farad"),
    "K": ("K", "kelvin"),
    "mol": ("mol", "mole"),
    "bit": ("", "bit"),
    "byte": ("", "byte"),
    "KB": ("kB KB", "kilobyte"),
    "MB": ("MB", "megabyte"),
    "GB": ("GB", "gigabyte"),
    "mi/h": ("mph", ""),
    "km/h": ("kmh kph", ""),
    "mi/gal": ("mpg", ""),
}
_ALL = _LENGTHS | _OTHERS
_SYMBOLS = {symbol: name for name, (symbols, _) in _ALL.items() for symbol in symbols.split()}
_WORDS = {word: name for name, (_, words) in _ALL.items() for word in words.split()}
_FOLDED = Counter(symbol.casefold() for symbol in _SYMBOLS)
# Also accept symbols in other case (CM, Kg) if they are unambiguous.
_SYMBOLS |= {s.casefold(): n for s, n in list(_SYMBOLS.items()) if len(s) > 1 and _FOLDED[s.casefold()] == 1}
# Symbols that are units even directly after the number: 5cm; other letters there are a product.
_CLEAR = "mm cm km ft yd kg lb lbs oz hr hrs min mins sec secs mph mpg km/h kmh m/s m/s^2 Hz kHz MHz kPa kJ kW kWh MW kcal mol"
_TOUCHING = frozenset(_CLEAR.split())
_MODIFIERS = {"square": "^2", "sq": "^2", "squared": "^2", "cubic": "^3", "cu": "^3", "cubed": "^3"}
_PER = re.compile(r"\s*/\s*|\s+per\s+|(?<=[a-z])\s+an?\s+")
_POWER = re.compile(r"\s*\^\s*\{?\s*(\d)\s*\}?")
_CAPITAL = re.compile(r"(?<![a-zA-Z°.])[A-Z](?![a-zA-Z.])")
_BARE_SYMBOL = re.compile(r"[a-zA-Z]{1,3}(?:\^\d)?(?:/[a-zA-Z]{1,3}(?:\^\d)?)?")
_MAX_CHARACTERS = 60


def known_unit(words: str, *, is_text: bool) -> str | None:
    r"""Canonical name of a unit: ``square centimeters``, ``cm²`` and ``cm^2`` all become ``cm^2``.

    Args:
        words: Text after a number.
        is_text: Whether the text is in ``\text{…}``, where letters are not variables.

    Returns:
        Name of the unit; None if the text is not a unit.
    """
    if len(words) > _MAX_CHARACTERS or (not is_text and _CAPITAL.search(words)):
        return None
    parts = [_single(part, is_below=place > 0) for place, part in enumerate(_PER.split(words.strip()))]
    if None in parts:
        return None
    first, below = parts[0], Counter(parts[1:])
    return str(first) + "".join(
        f"/{name}" + (f"^{times}" if times > 1 else "") for name, times in sorted(below.items(), key=str)
    )


def may_touch(words: str) -> bool:
    """Whether letters directly after a number can be a unit, not a product of variables."""
    spelled = re.sub(r"\s+", "", words.strip(" ."))
    return spelled in _TOUCHING or spelled.casefold() in _TOUCHING or bool(re.search(r"[a-zA-Z]{4}|[°¤¢Ω]", spelled))


def as_product(unit: str) -> str | None:
    """Symbol of a unit read as variables, as in ``5m`` without a space; None if the unit is a word."""
    return unit if _BARE_SYMBOL.fullmatch(unit) else None


def _single(words: str, *, is_below: bool) -> str | None:
    """Name of a unit without a fraction bar; below a bar, units of time may have powers as well."""
    power = _POWER.search(words)
    exponent = f"^{power[1]}" if power else ""
    names = re.sub(r"[{}]", "", _POWER.sub("", words)).split()
    for place in (0, -1):
        modifier = _MODIFIERS.get(names[place].strip(".").casefold()) if len(names) > 1 else None
        if modifier and not exponent:
            exponent = modifier
            del names[place]
    name = _name(" ".join(names))
    has_powers = name in _LENGTHS or (is_below and name in {"s", "min", "h"})
    return None if name is None or (exponent and not (has_powers and exponent in {"^2", "^3"})) else name + exponent


def _name(word: str) -> str | None:
    folded = word.casefold().strip(".")
    if folded in {"degree celsius", "degrees celsius"}:
        return "°C"
    if folded in {"degree fahrenheit", "degrees fahrenheit"}:
        return "°F"
    for symbol in (word, word.replace(".", ""), word.casefold()):
        if symbol in _SYMBOLS:
            return _SYMBOLS[symbol]
    return next((_WORDS[form] for form in (folded, folded.removesuffix("s")) if form in _WORDS), None)
