"""drpt's own rules for scoring some families of reasoning-gym, and the required form of answers for the other scorers."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

# Families for which texts are compared instead, since their scorers accept wrong answers or add nothing useful.
COMPARES_TEXTS = frozenset({"circuit_logic", "emoji_mystery", "gsm_symbolic", "tsumego"})
_FRACTION = r"\\d?frac\s*\{\s*\d+\s*\}\s*\{\s*\d+\s*\}|\d+\s*/\s*\d+"
_MOVE = r"(?:\d+[.)] |[-*] )?Move disk \d+ from Peg \d+ to Peg \d+\.?"
_ROLE = r"[a-z]+ is an? [a-z]+"
_REAL = r"-?\d+(?:\.\d*)?"
_TIME = r"\d{1,4}:\d{2}(?::\d{2}(?:\.\d+)?)?"
# Required form of the whole answer; the families' scorers search any text for it, or read only the beginning.
FORMS: Mapping[str, re.Pattern[str]] = {
    "fraction_simplification": re.compile(rf"\${{0,2}}\s*(?:{_FRACTION})\s*\${{0,2}}"),
    "kakurasu": re.compile(r"[01](?:[\s,]*[01])*"),
    "knights_knaves": re.compile(rf"{_ROLE}(?:[,;.]?\s+(?:and\s+)?{_ROLE})*\.?", re.I),
    "polynomial_equations": re.compile(rf"{_REAL}(?:\s*,\s*{_REAL})*"),
    "quantum_lock": re.compile(r"[A-C](?:(?:\s|→|->|,)*[A-C])*", re.I),
    "shortest_path": re.compile(r"(?:up|down|left|right)(?:\s+(?:up|down|left|right))*"),
    "sokoban": re.compile(r"[UDLR]+"),
    "survo": re.compile(r"[\d\s-]+"),
    "time_intervals": re.compile(rf"-?\d+(?:\s+days?)?|(?:-?\d+\s+days?,\s*)?{_TIME}"),
    "tower_of_hanoi": re.compile(rf"{_MOVE}(?:[^\S\n]*\n\s*{_MOVE})*"),
}
_PROBABILITY = re.compile(r"\d{0,25}(?:\.\d{0,60})?(?:[eE]-?\d{1,3})?|\d{1,25}\s*/\s*\d{1,25}")
_DECIMAL = re.compile(r"[-+]?(?:\d{1,30}|\d{1,3}(?:,\d{3}){1,9})(?:\.\d{0,30})?(?:[eE][-+]?\d{1,2})?")
_TOLERANCE = Fraction(1, 10_000)
_LAST_DECIMAL = Fraction(51, 10_000)  # tolerance for elements rounded to two decimals


def _probability(text: str, stored: str) -> bool:
    """Accept an error of at most 1e-4 and 1 %; the family accepts a prefix of the digits, and 0 for a small probability."""
    if not _PROBABILITY.fullmatch(text):
        return False
    try:
        value, right = Fraction(text.replace(" ", "")), Fraction(stored)
    except (ValueError, ZeroDivisionError):
        return False
    return abs(value - right) <= min(_TOLERANCE, abs(right) / 100)


def _grid(text: str, stored: str) -> bool:
    """Require the same grid; the family ignores additional rows and columns."""
    try:
        return bool(json.loads(text) == json.loads(stored))
    except ValueError:
        return False


def _sorted_numbers(text: str, stored: str) -> bool:
    """Require the same numbers; the family accepts errors of up to 1."""
    found, right = (_listed(one) for one in (text, stored))
    return found is not None and found == right


def _listed(text: str) -> list[Fraction] | None:
    try:
        items = json.loads(text.replace("'", '"'))
    except ValueError:
        return None
    return _numbers([str(item) for item in items]) if isinstance(items, list) else None


def _decimal(text: str, stored: str) -> bool:
    """Require the same number up to the rounding of the stored answer; the family accepts an error of 1 in the last decimal."""
    found, right = _numbers([text]), _numbers([stored])
    if found is None or right is None:
        return False
    _, point, decimals = stored.partition(".")
    return found == right or (point != "" and abs(found[0] - right[0]) < Fraction(1, 10 ** len(decimals)))


def _number(text: str, stored: str) -> bool:
    """Require the same number up to 1e-6; the family accepts errors of 0.01, more than the distance between candidates."""
    found, right = _numbers([text]), _numbers([stored])
    return found is not None and right is not None and abs(found[0] - right[0]) <= Fraction(1, 1_000_000)


def _matrix(text: str, stored: str) -> bool:
    """Require elements that are correct to two decimals; the family accepts errors of 1 %, such as 101 for 100."""
    rows, right = ([_numbers(line.split()) for line in one.strip().splitlines()] for one in (text, stored))
    return len(rows) == len(right) and all(
        ours is not None and theirs is not None and len(ours) == len(theirs) and _are_near(ours, theirs)
        for ours, theirs in zip(rows, right, strict=True)
    )


def _are_near(ours: Sequence[Fraction], theirs: Sequence[Fraction]) -> bool:
    return all(abs(one - other) <= _LAST_DECIMAL for one, other in zip(ours, theirs, strict=True))


def _numbers(texts: Sequence[str]) -> list[Fraction] | None:
    if not all(_DECIMAL.fullmatch(text) for text in texts):
        return None
    return [Fraction(text.replace(",", "")) for text in texts]


def _word(text: str, stored: str) -> bool:
    """Require the same word; the family gives a tenth for each correct letter, and so full marks for ten of them."""
    return text.replace(" ", "").casefold() == stored.strip().casefold()


def _folded(text: str, stored: str) -> bool:
    """Require the same text up to case; the families give (nearly) full marks to any text that begins with the answer."""
    return text.casefold() == stored.strip().casefold()


# Rules that decide whether an answer that differs from the stored text is correct.
OWN_RULES: Mapping[str, Callable[[str, str], bool]] = {
    "coin_flip": _probability,
    "decimal_arithmetic": _decimal,
    "figlet_font": _word,
    "game_of_life": _grid,
    "letter_jumble": _folded,
    "number_format": _number,
    "number_sorting": _sorted_numbers,
    "pool_matrix": _matrix,
    "spell_backward": _folded,
}
