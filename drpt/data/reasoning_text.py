r"""Compares texts of answers to generated questions: removes decorations, and finds the stored answer in longer texts."""

import re
from collections.abc import Iterator
from decimal import Decimal

_DECORATIONS = (
    re.compile(
        r"(?:(?:so|thus|therefore|hence),?\s+)?(?:the\s+|my\s+)?(?:final\s+)?answer(?:\s+is\s*:?|\s*[:=])\s*(.+)", re.I | re.S
    ),
    re.compile(r"```\w*\n(.*?)\n?```", re.S),
    re.compile(r"\*\*(.+)\*\*|`(.+)`|\$([^$]+)\$|\\\((.+)\\\)|\\\[(.+)\\\]|\\boxed\{(.+)\}|\\text\{(.+)\}", re.S),
    re.compile(r"\"(.+)\"|'(.+)'|“(.+)”", re.S),
    re.compile(r"(.*[^.\s]\.?)\.", re.S),
)
_MAX_DECORATIONS = 6
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d{1,30})(?:\.\d{0,30})?")
# Words that are answers to choices: two of them in one text are a guess, and case does not matter.
_CHOICE_WORDS = (
    "yes no true false on off undetermined valid invalid possible impossible alive dead odd even infeasible knight knave "
    "monday tuesday wednesday thursday friday saturday sunday up down left right"
)
_CHOICES = frozenset(_CHOICE_WORDS.split())
_DOUBTS = re.compile(r"\b(?:not|no|nor|never|or|either|neither|maybe|perhaps|possibly|wrong|\w+n't|if|unless)\b", re.I)
_WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")
_MAX_AROUND = 100  # largest number of characters around the stored answer for partial credit
_MIN_QUOTED = 5  # smallest number of words that can be a quotation of the question
_LEAST_REPEATED = 0.5  # share of the question's three-word sequences from which on a text repeats the question
_MORE_THAN_STORED = 0.25  # by how much this share must exceed that of the stored answer


def forms_of(text: str) -> Iterator[str]:
    r"""An answer with and without the decorations that models write, such as ``**5**`` or ``The answer is 5``.

    Args:
        text: Text of the answer.

    Yields:
        The text without surrounding white space, and then with one decoration after another removed.
    """
    text = text.strip()
    yield text
    for _ in range(_MAX_DECORATIONS):
        found = next((match for pattern in _DECORATIONS if (match := pattern.fullmatch(text))), None)
        if found is None:
            return
        text = next(group for group in found.groups() if group is not None).strip()
        yield text


def is_same(text: str, stored: str) -> bool:
    """Whether an answer equals the stored one: as text, as a number, or as the word of a choice.

    Args:
        text: Form of an answer, from `forms_of`.
        stored: Stored answer.

    Returns:
        True if they are equal.
    """
    stored = stored.strip()
    if text == stored:
        return True
    if _NUMBER.fullmatch(text) and _NUMBER.fullmatch(stored):
        return Decimal(text.replace(",", "")) == Decimal(stored.replace(",", ""))
    return text.casefold() == stored.casefold() and stored.casefold() in _CHOICES


def share_of_answer(text: str, stored: str, question: str) -> float:
    """Share of a longer text that is the stored answer, as partial credit.

    The stored answer must be a separate word or number: ``North`` does not contain ``No``, nor ``-1`` ``1``, nor ``1/2`` ``2``.
    There is no credit for guesses: a number among other numbers, a word of a choice beside another one, or any answer in a
    list, beside a negation, in a long text, or within a quotation of the question.

    Args:
        text: Text of the answer.
        stored: Stored answer.
        question: Text of the question.

    Returns:
        Length of the stored answer divided by that of the text, in [0, 1); 0 if there is no credit.
    """
    text, stored = text.strip(), stored.strip()
    place = text.find(stored) if stored else -1
    if place < 0 or text == stored:
        return 0.0
    before, after = text[:place], text[place + len(stored) :]
    if _goes_on(before, after, stored) or _is_a_guess(before, after, stored) or _is_quoted(before, after, question):
        return 0.0
    return len(stored) / len(text)


def _goes_on(before: str, after: str, stored: str) -> bool:
    """Whether the surrounding text makes the stored answer part of a longer word or number."""
    if re.search(r"[-\w\\^\[{]\Z", before) or re.match(r"[-\w\]}]", after):
        return True
    if not re.search(r"\d", stored):
        return False
    return (
        re.search(r"[-\u2212+*/^.,<>~≈]\s*\Z", before) is not None
        or re.match(r"\s*(?:[-\u2212+*/^%°!]|[.,]\d)", after) is not None
    )


def _is_a_guess(before: str, after: str, stored: str) -> bool:
    rest = f"{before} {after}"
    if len(rest) > _MAX_AROUND:
        return True
    if re.search(r"\d", stored) and re.search(r"\d", rest):
        return True
    if _DOUBTS.search(rest) or (stored.casefold() in _CHOICES and _CHOICES & set(re.findall(r"[a-z]+", rest.casefold()))):
        return True
    return stored in after or re.search(r"[,;/|&]\s*\Z", before) is not None or re.match(r"\s*[,;/|&]", after) is not None


def _is_quoted(before: str, after: str, question: str) -> bool:
    """Whether there are at least five words around the stored answer, most of them from the question."""
    around, asked = _WORD.findall(f"{before} {after}".casefold()), set(_WORD.findall(question.casefold()))
    return len(around) >= _MIN_QUOTED and 2 * sum(word in asked for word in around) > len(around)


def repeats_question(text: str, question: str, stored: str) -> bool:
    """Whether an answer is a (slightly changed) copy of the question.

    It is if it contains at least half of the question's three-word sequences, and many more of them than the stored answer.

    Args:
        text: Text of the answer.
        question: Text of the question.
        stored: Stored answer, which may repeat much of the question (a sentence to be reordered).

    Returns:
        True if the answer repeats the question.
    """
    asked = _threes(question)
    if not asked:
        return False
    share, share_of_stored = (len(asked & _threes(one)) / len(asked) for one in (text, stored))
    return share >= _LEAST_REPEATED and share > share_of_stored + _MORE_THAN_STORED


def _threes(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    return {tuple(words[place : place + 3]) for place in range(len(words) - 2)}
