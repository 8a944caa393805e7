r"""Reads an expression as a value: a number, list, tuple, set, interval, equation, text, or formula.

Ambiguous texts are read by these rules:

- A comma is a thousands separator if groups of exactly three digits follow without a space (``1,000``, ``100,200,300``).
  Otherwise it separates items: ``1,2`` is a list, never 1.2. In brackets a comma is a thousands separator only if items are
  separated otherwise, by a comma and a space or by semicolons: ``(1,200)`` is a pair, ``(1,200, 3)`` contains 1200.
- A space before a group of three digits is a thousands separator (``1 000``); before a fraction it makes a mixed number
  (``3 1/2``).
- A percent sign divides by 100, and may be missing or superfluous; see `drpt.rewards.mathematics.equality`.
- Number words and units are those of `drpt.rewards.mathematics.quantities`; `drpt.rewards.mathematics.vocabulary` decides
  whether letters are words or variables.
- In ``1/6 \approx 0.1667`` the exact side counts, and also the other side if it is the exact one rounded.
"""

import re
from dataclasses import replace
from functools import lru_cache

from drpt.rewards.mathematics.formulas import formula_of, rounded
from drpt.rewards.mathematics.numbers import NotANumberError, TooLargeError, number_of
from drpt.rewards.mathematics.quantities import split
from drpt.rewards.mathematics.signs import normal
from drpt.rewards.mathematics.units import known_unit
from drpt.rewards.mathematics.values import Choice, Equation, Formula, InBase, Number, Rounded, Several, Value, Words
from drpt.rewards.mathematics.vocabulary import has_words, is_name, is_word

_MAX_CHARACTERS = 5_000
_MAX_ITEMS = 200


class _UnreadableError(ValueError):
    """An item of a list or tuple cannot be read."""


_BRACKET = re.compile(r"\\?[{}]|[()\[\]]")
_THOUSANDS = re.compile(r"(?<![\d.,a-zA-Z])([1-9]\d{0,2}(?:,\d{3})+)(?!\d)(?!,\d)")
_DECIMAL = re.compile(r"[-+]?(\d*)\.(\d+)")
_IN_BASE = re.compile(r"(-?[0-9A-Fa-f]+)\s*_\s*(?:\{\s*)?(?:\\text\{\s*)?(\d{1,2}|two|three|five|eight|ten|sixteen)(?:\s*\})*")
_BASES = {"two": 2, "three": 3, "five": 5, "eight": 8, "ten": 10, "sixteen": 16}
_RATIO = re.compile(r"-?\d[\d./]*(?:\s*:\s*-?\d[\d./]*)+")
# Letters with indices and arguments, alone, as a tuple, a length or a ratio: x, f(x), x_1, (x,y), |AB|, A:B, \frac{A}{B}.
_LETTER = r"(?:\\(?!pm|sqrt|frac|in|cup)[a-zA-Z]+|[a-zA-Z]{1,3})(?:\s*_\s*(?:\w|\{[\w ]+\}))?'*"
_NAME = (
    rf"{_LETTER}(?:\(\s*[a-zA-Z](?:\s*,\s*[a-zA-Z])*\s*\))?|\\text\{{[^{{}}]*\}}|\|{_LETTER}\||{_LETTER}\s*[:/]\s*{_LETTER}"
    rf"|\(\s*{_LETTER}(?:\s*,\s*{_LETTER})*\s*\)|\\frac\s*\{{\s*{_LETTER}\s*\}}\s*\{{\s*{_LETTER}\s*\}}"
)
_EQUATION = re.compile(rf"({_NAME})\s*=\s*(?:[^=<>]+=\s*)*([^=<>]+)")
_REVERSED = re.compile(rf"([^=<>]+?)\s*=\s*({_NAME})")
# Letter of a choice and its content: (C) 5, \text{(C) } 5.
_CHOICE = re.compile(r"(?:\\text\s*\{\s*)?\(\s*([A-Ea-e])\s*\)(?:\s*\}\s*(\S.*)|\s+(?=[-+\d\\¤.(])(\S.*?)\}?)")
_MIXED = re.compile(r"(\d[\d./]*\s*(?:\\text\s*\{\s*([a-zA-Z]+)\s*\}|([a-zA-Z]{2,})))\s+(?=\d)")
_MEMBER = re.compile(rf"(?:{_NAME})\s*\\in(?![a-zA-Z])\s*(.+)")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_LETTER_IN_TEXT = re.compile(r"\\text\s*\{\s*([a-zA-Z])\s*\}")
_WORD = re.compile(r"[a-zA-Z]{4,}(?:[ '.\-]+[a-zA-Z]+)*|[a-zA-Z]+(?:[ '.\-]+[a-zA-Z]+)+")
_COMMANDS = re.compile(r"\\(?:begin|end)\s*\{[a-z*]+\}(?:\s*\{[lcr|\s]*\})?|\\[a-zA-Z]+")
_LETTERS = re.compile(r"[^\W\d_]{2,}")
_PROSE = re.compile(r"[a-zA-Z]{2,}\s+-?[\w\d]|\w\s+[a-zA-Z]{2,}")  # a word beside others
_INDEX = re.compile(r"_\s*(?:\{[^{}]*(?:\{[^{}]*\}[^{}]*)?\}|\w)")
_WORD_IN_TEXT = re.compile(r"\\text\s*\{[^{}]*[a-zA-Z][^{}]*[a-zA-Z]")
_FUNCTIONS = re.compile(r"(?:sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|log|ln|exp|sqrt|max|min|gcd|lcm|pi|mod|det)(?![a-z])")
_SIGNIFICANT = re.compile(r"[^\d]")


def read(text: str, *, is_marked: bool) -> Value | None:
    r"""Read an expression.

    Args:
        text: Expression, with or without formula delimiters.
        is_marked: Whether the expression is marked as an answer, by a box or ``####``; then words can be units or the answer.

    Returns:
        Value of the expression; None if it cannot be read, or exceeds the bounds in size.
    """
    if len(text) > _MAX_CHARACTERS:
        return None
    try:
        return _read(normal(text), is_marked)
    except (TooLargeError, _UnreadableError):
        return None


@lru_cache(maxsize=512)
def _read(text: str, is_marked: bool) -> Value | None:
    if not text:
        return None
    if "\\begin" in text:
        return _formula(text, is_marked)
    member = _MEMBER.fullmatch(text)
    if member:
        return _read(member[1].strip(), is_marked)
    in_text = _TEXT.fullmatch(text)
    if in_text and re.match(r"\s*[-+]?\s*¤?\s*\d", in_text[1]) and (number := _read(in_text[1].strip(), is_marked=True)):
        return number
    choice = _CHOICE.fullmatch(text)
    if choice and (meant := _read(" ".join((choice[2] or choice[3]).split()), is_marked)):
        return Choice(letter=(choice[1]).casefold(), value=meant, source=text)
    mixed = _MIXED.sub(lambda found: f"{found[1]}, " if known_unit(found[2] or found[3], is_text=True) else found[0], text)
    if mixed != text:  # 2 hours 30 minutes
        return _items("", _parts(mixed, is_within=False), text, is_marked)
    exact, is_about, near = text.partition("\\approx")
    if is_about:
        return _approximation(exact.strip(), near.strip(), is_marked)
    return (
        _several(text, is_marked)
        or _ratio(text)
        or _in_base(text)
        or _equation(text, is_marked)
        or _number(text, is_marked)
        or _words(text, is_marked)
        or _formula(text, is_marked)
    )


def _approximation(exact: str, near: str, is_marked: bool) -> Value | None:
    """The exact side if it is a constant, combined with the other side if that is correctly rounded; else the other side."""
    value, rest = _read(exact, is_marked), _read(near, is_marked)
    if value is None and exact and not is_marked:  # prose
        return None
    if value is None or not _is_constant(value):
        return rest
    rest = rest.exact if isinstance(rest, Rounded) else rest
    if not isinstance(rest, Number):
        return value
    inner = value.value if isinstance(value, Equation) else value
    if not _rounds_to(inner, rest):
        return value
    both = Rounded(exact=inner, near=rest, source=f"{inner.source} \\approx {near}")
    return replace(value, value=both, source=f"{value.source} \\approx {near}") if isinstance(value, Equation) else both


def _is_constant(value: Value) -> bool:
    if isinstance(value, Equation):
        return _is_constant(value.value)
    if isinstance(value, Several):
        return all(_is_constant(item) for item in value.items)
    if isinstance(value, Formula):
        formula = formula_of(value.source)
        return formula is not None and not getattr(formula, "free_symbols", {formula})
    return not isinstance(value, Words)


def _rounds_to(value: Value, near: Number) -> bool:
    decimals = near.decimals or 0
    if isinstance(value, Number):
        return abs(value.value - near.value) * 2 * 10**decimals <= 1
    return isinstance(value, Formula) and rounded(formula_of(value.source), decimals) == near.value


def _several(text: str, is_marked: bool) -> Value | None:
    if re.search(r"\\(?:cup|cap|setminus)(?![a-zA-Z])", text):
        return None
    if re.search(r"\\pm(?![a-zA-Z])", text) and not re.search(r"[,;]", text):
        signs = [re.sub(r"\\pm(?![a-zA-Z])", sign, text) for sign in "+-"]
        return _items("", [re.sub(r"^\s*\+", "", one) for one in signs], text, is_marked)
    is_set = text.startswith("\\{") and text.endswith("\\}")
    if (is_set or (text[0] in "([" and text[-1] in ")]")) and _closes_at_end(text):
        kind, inner = ("{}", text[2:-2].strip()) if is_set else (text[0] + text[-1], text[1:-1])
        parts = _parts(inner, is_within=True) if inner.strip() else []
        if len(parts) == 1 and kind != "()":
            item = _read(parts[0].strip(), is_marked)
            return None if item is None else Several(kind=kind, items=(item,), source=text)
        if len(parts) != 1:
            return _items(kind, parts, text, is_marked)
    parts = _parts(text, is_within=False)
    return _items("", parts, text, is_marked) if len(parts) > 1 else None


def _items(kind: str, parts: list[str], source: str, is_marked: bool) -> Several:
    """Values of the parts; one unreadable part makes the whole unreadable, so that sympy does not guess at it."""
    if len(parts) > _MAX_ITEMS:
        raise _UnreadableError(f"{len(parts)} items")
    items = []
    for part in parts:
        item = _read(part.strip(), is_marked)
        if item is None:
            raise _UnreadableError(part)
        items.append(item)
    return Several(kind=kind, items=tuple(items), source=source)


def _closes_at_end(text: str) -> bool:
    """Whether the last bracket closes the first."""
    depth = 0
    for bracket in _BRACKET.finditer(text):
        depth += 1 if bracket[0][-1] in "([{" else -1
        if depth == 0:
            return bracket.end() == len(text)
    return False


def _parts(text: str, *, is_within: bool) -> list[str]:
    """Remove thousands separators, and split at commas and semicolons outside brackets."""
    if not is_within or re.search(r",\s|;", text):
        text = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), text)
    parts, start, depth = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if sign in ",;" and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    parts.append(text[start:])
    # An Oxford comma leaves an empty part before its "and".
    return [part for part in parts if part.strip()] if len(parts) > 1 else parts


def _ratio(text: str) -> Value | None:
    return _items(":", text.split(":"), text, False) if _RATIO.fullmatch(text) else None


def _in_base(text: str) -> InBase | None:
    found = _IN_BASE.fullmatch(text)
    if found is None or not re.search(r"\d", found[1]):
        return None
    base = _BASES.get(found[2]) or int(found[2])
    is_possible = 2 <= base <= 36 and all(int(digit, 36) < base for digit in found[1].lstrip("-"))
    return InBase(digits=found[1].upper().lstrip("0") or "0", base=base, source=text) if is_possible else None


def _equation(text: str, is_marked: bool) -> Value | None:
    if "=" not in text or re.search(r"[<>]|\\(?:le|ge|ne)(?![a-zA-Z])", text):
        return None
    found, reversed_ = _EQUATION.fullmatch(text), _REVERSED.fullmatch(text)
    if found or (reversed_ and not _LETTERS.search(_COMMANDS.sub("", reversed_[1]))):
        name, right = (found[1], found[2]) if found else (reversed_[2], reversed_[1])  # type: ignore[index]  # one of the two matched
        value = _read(right.strip(), is_marked)
        return None if value is None else Equation(name=_plain(name), value=value, source=text)
    left, _, right = text.rpartition("=")
    try:  # 3 + 5 = 8
        for side in left.split("="):
            number_of(side)
    except NotANumberError:
        return None
    value = _read(right.strip(), is_marked)
    return value if isinstance(value, Number) else None


def _number(text: str, is_marked: bool) -> Value | None:
    parts = split(text, is_marked=is_marked)
    body = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), parts.body).strip()
    try:
        value = number_of(body) * parts.size
    except NotANumberError:
        if parts.body == text or parts.is_percent or not body:
            return None
        source = body if parts.size == 1 else f"({body})*({parts.size})"
        formula = _formula(source, is_marked)
        return None if formula is None else Formula(source=source, unit=parts.unit)
    written = _DECIMAL.fullmatch(body) if parts.size == 1 else None
    decimals = len(written[2]) if written else None
    digits = len(_SIGNIFICANT.sub("", body).lstrip("0")) if written else 0
    if parts.is_percent:
        value /= 100
        decimals = None if decimals is None else decimals + 2
    return Number(value=value, source=text, is_percent=parts.is_percent, unit=parts.unit, decimals=decimals, digits=digits)


def _words(text: str, is_marked: bool) -> Words | None:
    inner = _TEXT.sub(r"\1", text)
    is_text = inner != text and not re.search(r"[^\s(),.-]", _TEXT.sub("", text))
    letters = inner.strip(" ()")
    if not is_text and not is_name(letters) and not (is_marked and _is_spelled(letters)):
        return None
    if not re.search(r"[^\W_]", inner):
        return None
    return Words(text=_plain(inner), source=text)


def _is_spelled(letters: str) -> bool:
    """Whether a text consists of words, not of a sum or product of variables."""
    if not (_WORD.fullmatch(letters) or re.fullmatch(r"[a-zA-Z]{2,3}", letters)):
        return False
    return any(is_word(word) for word in re.findall(r"[a-zA-Z]{2,}", _FUNCTIONS.sub(" ", letters)))


def _plain(text: str) -> str:
    return re.sub(r"[\s(){}\\.$]|text(?=\{)", "", text).casefold()


def _formula(text: str, is_marked: bool) -> Formula | None:
    text = _LETTER_IN_TEXT.sub(r"\1", text)
    if _WORD_IN_TEXT.search(_INDEX.sub(" ", text)):  # the words would be lost
        return None
    bare = _FUNCTIONS.sub(" ", _COMMANDS.sub(" ", _TEXT.sub(" ", text)))
    if any(len(word) > 3 for word in _LETTERS.findall(bare)) or _is_prose(_INDEX.sub("", bare), is_marked):
        return None
    if re.search(r"[.?!]\s|[:?]$|\d\s*['_]", text) or text.count("{") != text.count("}") or not re.search(r"[\w\\]", text):
        return None
    return Formula(source=text) if formula_of(text) is not None else None


def _is_prose(bare: str, is_marked: bool) -> bool:
    """Whether an expression without its commands contains words beside numbers or other words."""
    if has_words(bare, is_prose=not is_marked):
        return True
    return not is_marked and len(_LETTERS.findall(bare)) > 1 and _PROSE.search(bare) is not None
