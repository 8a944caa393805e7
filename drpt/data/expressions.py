"""Recognises arithmetic problems in texts, so that pools do not share them; no torch.

"Calculate 3 + 4.", "What is the sum of four and three?" and "3+4 =" are the same problem: the order of terms and factors,
redundant brackets and the surrounding words do not matter. A sentence asks a problem only if the words around the expression
are those of calculation: "I waited 5-10 minutes" asks none.
"""

import re
from dataclasses import dataclass
from itertools import islice
from typing import Any

from drpt.data.wording import NUMBER_WORDS, folded, without_labels

_MOST_PARTS = 60  # largest number of tokens in an expression that is parsed; longer ones are compared literally
_MOST_STRANGE = 4  # number of unrelated words allowed in a sentence that explicitly asks for a calculation
_CUE_WORDS = "calculate compute evaluate determine solve simplify find what much equals equal add result sum value"
_OTHER_WORDS = (
    "a also an and answer are arithmetic as box boxed can carefully correct could decimal decimals difference do does "
    "equation exact exactly explain expression final first following for format get give here how i in inside integer is "
    "it just know let make makes math mathematical maths me need next no now number of only out output places please "
    "point points problem problems product put q question quick quickly quotient reasoning reply respond result return "
    "round rounded s show state step steps tags task tell that the then think this to total us use want we what when with "
    "within work working write you your"
)
_CUES = frozenset(_CUE_WORDS.split())
_CALCULATION = _CUES | frozenset(_OTHER_WORDS.split())
_NUMBER = r"\d+(?:\.\d+)?"
_OPERATORS = (
    (re.compile(r"\\(?:times|cdot|ast)\b|(?<=[\d)])\s*[x×·⋅∙✕]\s*(?=[-(\d])"), "*"),
    (re.compile(r"\\div\b|÷"), "/"),
    (re.compile(r"[−–](?=\s*[\d(])"), "-"),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\bplus\b"), "+"),
    (re.compile(r"\bminus\b"), "-"),
    (re.compile(r"\b(?:times|multiplied by)\b"), "*"),
    (re.compile(r"\bdivided by\b"), "/"),
    (re.compile(r"\\(?:left|right|,|;|!)|[$\\](?=[\s(\[\])\d-])|(?<=[\d)\s])[$]"), " "),
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), ""),
)
_LIST = rf"({_NUMBER}(?:\s*,\s*{_NUMBER})*),?\s*"
_SPOKEN = (
    (re.compile(rf"\b(?:sum|total) of {_LIST}and ({_NUMBER})"), "+"),
    (re.compile(rf"\badd(?:ing)? {_LIST}(?:and|to|with) ({_NUMBER})"), "+"),
    (re.compile(rf"\bproduct of {_LIST}and ({_NUMBER})"), "*"),
    (re.compile(rf"\bmultiply(?:ing)? {_LIST}(?:and|by|with) ({_NUMBER})"), "*"),
    (re.compile(rf"\bdifference (?:of|between) ({_NUMBER}) and ({_NUMBER})"), "-"),
    (re.compile(rf"\b(?:quotient of|divide) ({_NUMBER}) (?:and|by) ({_NUMBER})"), "/"),
)
_SUBTRACT = re.compile(rf"\bsubtract(?:ing)? ({_NUMBER}) from ({_NUMBER})")
_WORD_NUMBER = re.compile(rf"\b({'|'.join(sorted(NUMBER_WORDS, key=len, reverse=True))})(?:[- ]([a-z]+))?\b")
# Possessive quantifiers keep matching linear, even for texts of 100,000 digits, spaces or brackets.
_CLOSED = r"\d++(?:\.\d++)?+(?:\s*+\))*+"
_HINT_WORDS = "plus minus times divide multipl add subtract total product difference quotient sum"
_HINTS = (*"-+*/^%×÷·⋅∙✕−–\\", *_HINT_WORDS.split())  # every problem contains one of them, except "3 x 4"
_LETTER_TIMES = re.compile(r"[\d)]\s*x")
_ANY_NUMBER = re.compile(rf"\d|\b(?:{'|'.join(NUMBER_WORDS)})\b", re.IGNORECASE)
_RUN = re.compile(rf"(?:(?<![-(\s])[-(\s]++|(?<![-(\s\d.])){_CLOSED}(?:\s*+[-+*/^%][-(\s]*+{_CLOSED})++")
_PARTS = re.compile(rf"{_NUMBER}|[-+*/^%()]")
_BORDER = re.compile(r"\n|[;:?!]|[.,](?!\d)")
_Tree = tuple[Any, ...]  # Any: a kind, followed by subtrees or the digits of a number
_WORDS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedSums:
    """The arithmetic problems of a text."""

    asked: tuple[str, ...]  # problems in the form returned by `canonical`, in the order of the text
    is_all: bool  # whether the text asks nothing else


def asked_sums(text: str) -> AskedSums:
    """Find the arithmetic problems that a text asks.

    Args:
        text: Any text.

    Returns:
        The problems; none for a text without arithmetic, or with numbers only in unrelated sentences.
    """
    lower = text.lower()
    has_sign = any(hint in lower for hint in _HINTS) or _LETTER_TIMES.search(lower) is not None
    if not has_sign or len(list(islice(_ANY_NUMBER.finditer(lower), 2))) < 2:
        return AskedSums(asked=(), is_all=False)
    asked: list[str] = []
    is_all = True
    for sentence in _BORDER.split(_spelled(folded(text))):
        found = [run for run in _RUN.finditer(sentence) if _is_sum(run[0])]
        others = _WORDS.findall(_RUN.sub(" ", without_labels(sentence)))
        strange = sum(word not in _CALCULATION for word in others)
        is_calculation = strange == 0 or (strange <= _MOST_STRANGE and not _CUES.isdisjoint(others))
        if len(found) == 1 and is_calculation and (key := canonical(found[0][0])) is not None:
            asked.append(key)
        elif strange:
            is_all = False
    return AskedSums(asked=tuple(asked), is_all=is_all and bool(asked))


def canonical(expression: str) -> str | None:
    """Canonical form of an expression, independent of the order of terms and factors.

    Args:
        expression: Numbers, ``+ - * / ^ %`` and brackets; a sign in front of the whole is ignored.

    Returns:
        The canonical form; None if the expression cannot be read or has no operator.
    """
    expression = re.sub(r"[×·⋅]", "*", expression.replace("−", "-").replace("÷", "/").replace("**", "^"))
    parts = _PARTS.findall(expression)
    if "".join(parts) != "".join(expression.split()) or len(parts) > _MOST_PARTS:
        return None
    try:
        reader = _Reader(parts)
        tree = reader.sum()
    except (IndexError, ValueError):
        return None
    if reader.place != len(parts):
        return None
    while tree[0] == "negated":
        tree = tree[1]
    return None if tree[0] == "number" else _written(tree)


def _spelled(text: str) -> str:
    """Replace words for operators and numbers in a folded text by signs and digits."""
    text = _WORD_NUMBER.sub(_digits, text)
    for pattern, sign in _OPERATORS:
        text = pattern.sub(f" {sign} " if sign.strip() else sign, text)
    for pattern, sign in _SPOKEN:
        text = pattern.sub(lambda found, sign=sign: f" {sign} ".join([*re.findall(_NUMBER, found[1]), found[2]]), text)  # type: ignore[misc]  # a default binds the sign
    return _SUBTRACT.sub(r"\2 - \1", text)


def _digits(found: re.Match[str]) -> str:
    value, second = NUMBER_WORDS[found[1]], found[2]
    if second is None:
        return value
    unit = NUMBER_WORDS.get(second)
    if len(value) == 2 and value.endswith("0") and unit is not None and len(unit) == 1:  # twenty-five
        return str(int(value) + int(unit))
    return f"{value} {_WORD_NUMBER.sub(_digits, second)}"


def _is_sum(run: str) -> bool:
    """Whether a run of numbers is an expression, not a date or telephone number."""
    numbers = re.findall(r"\d+(?:\.\d+)?", run)
    return not any(len(number) > 1 and number.startswith("0") and "." not in number for number in numbers)


class _Reader:
    """Parses an expression with the usual precedence into nested tuples."""

    def __init__(self, parts: list[str]) -> None:
        self._parts = parts
        self.place = 0

    def _next(self, choices: str) -> str | None:
        if self.place < len(self._parts) and self._parts[self.place] in choices:
            self.place += 1
            return self._parts[self.place - 1]
        return None

    def sum(self) -> _Tree:
        terms = [self._product()]
        while (sign := self._next("+-")) is not None:
            term = self._product()
            terms.append(("negated", term) if sign == "-" else term)
        return terms[0] if len(terms) == 1 else ("sum", *terms)

    def _product(self) -> _Tree:
        found = self._signed()
        while (sign := self._next("*/%")) is not None:
            factor = self._signed()
            found = ("product", found, factor) if sign == "*" else (sign, found, factor)
        return found

    def _signed(self) -> _Tree:
        if self._next("-") is not None:
            return ("negated", self._signed())
        base = self._atom()
        return ("^", base, self._signed()) if self._next("^") is not None else base

    def _atom(self) -> _Tree:
        if self._next("(") is not None:
            inner = self.sum()
            if self._next(")") is None:
                raise ValueError("a bracket is not closed")
            return inner
        part = self._parts[self.place]
        if not part[0].isdigit():
            raise ValueError(f"{part} stands where a number should")
        self.place += 1
        return ("number", part)


def _written(tree: _Tree) -> str:
    kind, *rest = tree
    if kind == "number":
        return str(rest[0])
    if kind in {"sum", "product"}:
        return f"({kind} {' '.join(sorted(map(_written, _items(tree, kind))))})"
    return f"({kind} {' '.join(map(_written, rest))})"


def _items(tree: _Tree, kind: str) -> list[_Tree]:
    """Flattened terms of nested sums, or factors of nested products."""
    if tree[0] == kind:
        return [item for part in tree[1:] for item in _items(part, kind)]
    if kind == "sum" and tree[0] == "negated":
        inner = tree[1]
        if inner[0] == "negated":
            return _items(inner[1], kind)
        if inner[0] == "sum":
            return [item for part in inner[1:] for item in _items(("negated", part), kind)]
    return [tree]
