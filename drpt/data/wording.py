"""Words of a text as near-duplicates compare them: numbers and operators are words, marks between them are borders; no torch.

Number words are numbers ("three" is 3, "twenty-five" is 25, "second" is 2): English alone. Numbers that a sign or a comma joins
are one figure: ``3 + 4`` and ``3 + 4 + 5`` are two figures, not two that share 3 and 4.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

WORDS_IN_A_ROW = 3
Shingle = tuple[str, ...]

_CJK = "぀-ヿ㐀-鿿가-힯"  # scripts that are written without spaces: each character is a word
_SIGN = r"[-+*/^<>=%×÷−]"
_OPERATOR = r"(?:[+*/^<>=&|~@]+|->)"
_PART = re.compile(
    rf"""
    (?P<word>[^\W\d{_CJK}]+|[{_CJK}])
  | (?P<number>\d+(?:[.,]\d+)*)
  | (?=[-+*/^<>=&|~@%\#×÷−])(?:                       # most characters end here: what follows takes its time
        (?<=[^\W\d])(?P<suffix>\+\+|\#)(?!\w)          # C++, C#
      | (?P<operator>(?<=[\w)\]]){_OPERATOR}(?=[\w(\[])|(?<=[\w)\]]\ ){_OPERATOR}(?=\ [\w(\[]))  # a && b, f->g, no **bold**
      | (?P<sign>(?:(?<=\d)|(?<=\d\ ))[+*/^<>=%×÷−]|(?<!\n)(?!\A){_SIGN}\s*(?=\d)|{_SIGN}(?=\d))
    )
    """,
    re.VERBOSE,
)
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_PLAIN_GAPS = frozenset(("", " "))
_NO_BORDER = re.compile(r"[ \t\u00a0'’_-]*")
_LIST_GAP = re.compile(r"\s*,\s*")
_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
NUMBER_WORDS = {word: str(value) for value, word in enumerate(f"{_UNITS} eighteen nineteen".split())}
_TEN_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {word: str(10 * value) for value, word in enumerate(_TEN_WORDS.split(), 2)}
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
NUMBER_WORDS |= {word: str(value) for value, word in enumerate(_ORDINALS.split(), 1)}
NUMBER_WORDS |= _TENS | {"hundred": "100", "thousand": "1000", "million": "1000000", "billion": "1000000000", "dozen": "12"}
NUMBER_WORDS |= {"twice": "2", "double": "2", "thrice": "3", "triple": "3", "half": "0.5"}

# What stands before a question in a sheet, or after it, and is no part of it.
_POINTS = r"[(\[]?\d+\s*(?:points?|pts?|marks?)\b\.?\s*[)\]:.]?"
_LABEL = re.compile(
    rf"""\s*(?:
    [#*>•-]+\s+
  | {_POINTS}
  | (?:[*_]{{0,3}})(?:problem|question|exercise|task|example|quiz|item|no|ex|q)\s*\.?\s*(?:\d+[a-z]?\b)?\s*[.:)–—-]+[*_]{{0,3}}
  | [(\[]?(?:\d+|[a-z])[.)\]:](?!\d)
    )\s*""",
    re.VERBOSE,
)
_TAIL = re.compile(rf"(?:\n\s*(?:answer|solution|a)\s*:?|\b(?:answer|solution)\s*:|[(\[]\s*{_POINTS})$")
_TAIL_LENGTH = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The words of a text, and what they are made into."""

    words: tuple[str, ...]
    borders: frozenset[int]  # places of words that a mark or the beginning stands before; the number of words is one, too
    figures: tuple[str, ...]  # numbers with the signs and commas that join them
    places: tuple[int, ...]  # where each figure begins, as places of words

    def shingle(self, place: int) -> Shingle:
        """The words in a row from a place on.

        Args:
            place: A place of a word.

        Returns:
            Fewer words than usual at the end.
        """
        return self.words[place : place + WORDS_IN_A_ROW]

    @property
    def shingles(self) -> frozenset[Shingle]:
        """All runs of three words; of a shorter text, all of its words in one run; none of a text without words."""
        last = max(1, len(self.words) - WORDS_IN_A_ROW + 1)
        if len(self.words) < WORDS_IN_A_ROW:
            return frozenset([self.words] if self.words else [])
        return frozenset(zip(*(self.words[start : start + last] for start in range(WORDS_IN_A_ROW)), strict=True))


def folded(text: str) -> str:
    """A text in one Unicode form (NFKC), without capitals and without characters that are not seen, such as soft hyphens.

    Args:
        text: Any.

    Returns:
        Line breaks and spaces as they are.
    """
    if text.isascii():
        return text.lower()
    text = _UNSEEN.sub("", text)
    # Folding can undo the form, and the form brings capitals forth: the second pass settles both.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def without_labels(text: str) -> str:
    """A question without its number in a sheet and its points: ``Problem 7. (2 points)``, ``Q:``, ``3)``, a final ``Answer:``.

    Args:
        text: See `folded`.

    Returns:
        The text; as it was where nothing would be left.
    """
    start = 0
    while (found := _LABEL.match(text, start)) and found.end() > start:
        start = found.end()
    inner = text[start:].rstrip()
    while (found := _TAIL.search(inner, max(0, len(inner) - _TAIL_LENGTH))) is not None:
        inner = inner[: found.start()].rstrip()
    return inner if inner.strip() else text


def words_of(text: str) -> Words:
    """The words of a text.

    Args:
        text: See `folded`.

    Returns:
        Words, borders and figures.
    """
    words: list[str] = []
    borders: set[int] = {0}
    figures: list[list[str]] = []
    places: list[int] = []
    end, last_kind, tens_end = 0, "", -1
    for part in _PART.finditer(text):
        kind = part.lastgroup or ""
        gap = text[end : part.start()]
        word = part[0]
        if gap not in _PLAIN_GAPS and not _NO_BORDER.fullmatch(gap):
            borders.add(len(words))
        if kind == "word" and word not in NUMBER_WORDS:  # nearly all are
            words.append(word)
            last_kind, end = kind, part.end()
            continue
        word = word.strip()
        is_number = kind == "number"
        if is_number:
            word = word.replace(",", "") if _THOUSANDS.fullmatch(word) else word
        elif kind == "word":
            is_number = True
            value = NUMBER_WORDS[word]
            if tens_end == end and gap in {"-", " "} and len(value) == 1 and value != "0":  # twenty-five
                words[-1] = figures[-1][-1] = str(int(words[-1]) + int(value))
                end = part.end()
                continue
            tens_end = part.end() if word in _TENS else -1
            word = value
        if is_number:
            is_joined = last_kind == "sign" or (last_kind == "number" and _LIST_GAP.fullmatch(gap) is not None)
            if not (is_joined and figures):
                figures.append([])
                places.append(len(words))
            figures[-1] += [",", word] if last_kind == "number" and figures[-1] else [word]
        elif kind in {"sign", "operator"} and (last_kind == "number" or text[part.end() : part.end() + 1].isdigit()):
            kind = "sign"
            if last_kind != "number" and last_kind != "sign":
                figures.append([])
                places.append(len(words))
            figures[-1].append(word)
        words.append(word)
        last_kind = "number" if is_number else kind
        end = part.end()
    borders.add(len(words))
    told = tuple("".join(figure).rstrip("=") for figure in figures)
    return Words(words=tuple(words), borders=frozenset(borders), figures=told, places=tuple(places))


def stand_in_a_row(part: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether the items of one sequence stand in another one, in their order and next to each other.

    Args:
        part: Such as the figures of a question; of none, the answer is yes.
        whole: Such as the figures of a text.

    Returns:
        The answer.
    """
    return any(whole[i : i + len(part)] == part for i in range(len(whole) - len(part) + 1))
