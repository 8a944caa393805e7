r"""Answers to generated questions as texts: the forms a model gives them, and whether the right one stands in a longer text."""

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
# Words of which one is the answer, so that beside another one it is a guess; the same word in capitals is the same answer.
_CHOICE_WORDS = (
    "yes no true false on off undetermined valid invalid possible impossible alive dead odd even infeasible knight knave "
    "monday tuesday wednesday thursday friday saturday sunday up down left right"
)
_CHOICES = frozenset(_CHOICE_WORDS.split())
_DOUBTS = re.compile(r"\b(?:not|no|nor|never|or|either|neither|maybe|perhaps|possibly|wrong|\w+n't|if|unless)\b", re.I)
_WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")
_MAX_AROUND = 100  # characters; the stored answer somewhere in a long text says little
_MIN_QUOTED = 5  # words
_LEAST_REPEATED = 0.5  # of a question's sequences of three words
_MORE_THAN_STORED = 0.25


def forms_of(text: str) -> Iterator[str]:
    r"""An answer as it stands, and without what models write around one, such as ``**5**`` and ``The answer is 5``.

    Args:
        text: The answer.

    Yields:
        The text without white space at its ends, and with one decoration after the other taken away.
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
    """Whether an answer is the stored one: the same characters, the same number, or the same word of a choice.

    Args:
        text: One of `forms_of` an answer.
        stored: The stored answer.

    Returns:
        True where it is.
    """
    stored = stored.strip()
    if text == stored:
        return True
    if _NUMBER.fullmatch(text) and _NUMBER.fullmatch(stored):
        return Decimal(text.replace(",", "")) == Decimal(stored.replace(",", ""))
    return text.casefold() == stored.casefold() and stored.casefold() in _CHOICES


def share_of_answer(text: str, stored: str, question: str) -> float:
    """What share of a text the stored answer has that stands in it as a whole, beside nothing of its own kind.

    Not as a whole: ``North`` holds no ``No``, ``-1`` no ``1``, ``1/2`` no ``2``. Beside other numbers a number is a guess,
    as is a word of a choice beside another one, and any answer in a list, beside a denial, in a long text, or among words of
    the question.

    Args:
        text: The answer.
        stored: The stored answer.
        question: The question.

    Returns:
        The length of the stored answer by that of the text, in [0, 1); 0 where it does not stand there so.
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
    """Whether the text around it makes another word or number of it."""
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
    """Whether most of the words around it, of five or more, are the question's."""
    around, asked = _WORD.findall(f"{before} {after}".casefold()), set(_WORD.findall(question.casefold()))
    return len(around) >= _MIN_QUOTED and 2 * sum(word in asked for word in around) > len(around)


def repeats_question(text: str, question: str, stored: str) -> bool:
    """Whether a text holds half of the question's sequences of three words or more, and many more than the right answer.

    Args:
        text: The answer.
        question: The question.
        stored: The stored answer, which may itself be a large part of the question (a sentence to be put in order).

    Returns:
        True where the question, perhaps a little changed, is given as the answer.
    """
    asked = _threes(question)
    if not asked:
        return False
    share, share_of_stored = (len(asked & _threes(one)) / len(asked) for one in (text, stored))
    return share >= _LEAST_REPEATED and share > share_of_stored + _MORE_THAN_STORED


def _threes(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    return {tuple(words[place : place + 3]) for place in range(len(words) - 2)}
