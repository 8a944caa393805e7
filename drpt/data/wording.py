"""Splits texts into words, figures and borders for the comparison of near-duplicates; no torch.

Numbers and operators are words; punctuation is a border between words. English number words are numbers ("three" is 3,
"twenty-five" is 25, "second" is 2). Numbers joined by a sign or a comma are one figure: ``3 + 4`` and ``3 + 4 + 5`` are
different figures, not two texts that share 3 and 4.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

WORDS_IN_A_ROW = 3
Shingle = tuple[str, ...]

_CJK = "぀-ヿ㐀-鿿가-힯"  # scripts without spaces, in which each character is a word
_SIGN = r"[-+*/^<>=%×÷−]"
_OPERATOR = r"(?:[+*/^<>=&|~@]+|->)"
_PART = re.compile(
    rf"""
    (?P<word>[^\W\d{_CJK}]+|[{_CJK}])
  | (?P<number>\d+(?:[.,]\d+)*)
  | (?=[-+*/^<>=&|~@%\#×÷−])(?:                       # excludes most characters early, since the rest is slow
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

# Labels before and after a question in an exercise sheet, which are not part of it.
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
    """The words of a text, with their borders and figures."""

    words: tuple[str, ...]
    borders: frozenset[int]  # indices of words after a punctuation mark or at the beginning, and the number of words
    figures: tuple[str, ...]  # numbers with the signs and commas that join them
    places: tuple[int, ...]  # index of the first word of each figure

    def shingle(self, place: int) -> Shingle:
        """The consecutive words from an index on.

        Args:
            place: Index of the first word.

        Returns:
            ``WORDS_IN_A_ROW`` words; fewer at the end of the text.
        """
        return self.words[place : place + WORDS_IN_A_ROW]

    @property
    def shingles(self) -> frozenset[Shingle]:
        """All sequences of three words; for a shorter text, the sequence of all its words, if any."""
        last = max(1, len(self.words) - WORDS_IN_A_ROW + 1)
        if len(self.words) < WORDS_IN_A_ROW:
            return frozenset([self.words] if self.words else [])
        return frozenset(zip(*(self.words[start : start + last] for start in range(WORDS_IN_A_ROW)), strict=True))


def folded(text: str) -> str:
    """Normalise the Unicode form (NFKC) and the case of a text, and drop characters that are not seen, such as soft hyphens.

    Args:
        text: Any text.

    Returns:
        The normalised text; line breaks and spaces are unchanged.
    """
    if text.isascii():
        return text.lower()
    text = _UNSEEN.sub("", text)
    # Case folding can undo the normal form, and normalising can produce capitals, so both are needed twice.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def without_labels(text: str) -> str:
    """Remove exercise labels from a question: ``Problem 7. (2 points)``, ``Q:``, ``3)``, a final ``Answer:``.

    Args:
        text: Text returned by `folded`.

    Returns:
        The text without labels, or unchanged if nothing else would remain.
    """
    start = 0
    while (found := _LABEL.match(text, start)) and found.end() > start:
        start = found.end()
    inner = text[start:].rstrip()
    while (found := _TAIL.search(inner, max(0, len(inner) - _TAIL_LENGTH))) is not None:
        inner = inner[: found.start()].rstrip()
    return inner if inner.strip() else text


def words_of(text: str) -> Words:
    """Split a text into words.

    Args:
        text: Text returned by `folded`.

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
        if kind == "word" and word not in NUMBER_WORDS:  # by far the most frequent case
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
    joined = tuple("".join(figure).rstrip("=") for figure in figures)
    return Words(words=tuple(words), borders=frozenset(borders), figures=joined, places=tuple(places))


def stand_in_a_row(part: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether one sequence is a contiguous part of another.

    Args:
        part: Sequence to find, such as the figures of a question; an empty one is always found.
        whole: Sequence to search, such as the figures of a text.

    Returns:
        True if it is.
    """
    return any(whole[i : i + len(part)] == part for i in range(len(whole) - len(part) + 1))
