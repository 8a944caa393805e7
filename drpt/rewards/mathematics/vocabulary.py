r"""Decides whether letters in an expression are English words, products of variables, or things counted.

Rules for letters outside ``\\text{…}``:

- Four or more letters are a word, as are two or three letters that are listed here or pronounceable (``Bob``, ``cat``). Other
  letters are a product of variables: ``AB``, ``kx``, ``abc``.
- Three capital letters are a name, in which the order matters: ``SAS`` differs from ``SSA``.
- Words after a number are things counted if they contain a plural (``72 red marbles``) and no word with another meaning:
  ``5 less than``, ``5 is wrong`` and ``5 more`` do not count things.
"""

import re

# Words of two and three letters that are not products; others are recognised by their form. In a box or a formula, many words
# of two letters are products (a t, b y), so these count in prose only.
_ALWAYS = (
    "no is of to if or it all and any are art ask ate end etc few for get had has her his how its let new nor not now odd off "
    "old one our out own per run saw say see set six sum ten the too try two use was way who why yes yet you nan inf"
)
_IN_PROSE = "am an as at be by do go he hi in me my oh ok on so up us we"
_WORDS = frozenset(_ALWAYS.split())
_PROSE_WORDS = _WORDS | frozenset(_IN_PROSE.split())
_SPOKEN = re.compile(r"(?:[b-df-hj-np-tv-z][aeiou][a-z]|[A-Z][aeiou][a-z])")
_BESIDE = re.compile(r"(?:^\s*|(?<=[\w)}])\s+)([a-zA-Z]{2,3})(?![a-zA-Z])(?=\s*$|\s+[\w\\(])")
_NAME = re.compile(r"[A-Z]{3}")
# Words that show that a phrase does not merely name the things counted.
_SAYS_MORE = (
    "about above across add added adding after again all almost also always and another any approximately are around because "
    "become becomes been before below between both but can cannot check correct cubed did differs divide divided divides does "
    "double each equal equals even every exact exactly exceeds except factorial fails false few fewer first follows for from "
    "gives greater gross had half halved has have hence however implies incorrect instead into its less let lies like many "
    "maybe mean means minus mod modulo more most multiplied multiply must negative neither none nor not nothing off only onto "
    "other otherwise out over percent perhaps plus possibly power raised remainder right satisfies score since some squared "
    "subtract subtracted sum than that the then there therefore these this those thus times total triple true twice under "
    "unless until versus was were what when where whereas whether which while whose why with without works wrong yes"
)
_NOT_COUNTED = frozenset(_SAYS_MORE.split())
_IRREGULAR = "people children men women fish sheep mice geese feet teeth dice deer oxen data vertices matrices"
_PLURALS = frozenset(_IRREGULAR.split())
_NO_PLURALS = re.compile(r".*(?:ss|us|is)")
_JOINING = frozenset({"of", "per", "a", "an", "the", "in"})
_PHRASE = re.compile(r"[a-zA-Z]+(?:[ '\-]+[a-zA-Z]+)*")
_MAX_WORDS = 5


def is_word(letters: str, *, is_prose: bool = False) -> bool:
    """Whether letters are a word, not a product of variables.

    Args:
        letters: At least two letters.
        is_prose: Whether the letters are outside a box or formula.

    Returns:
        True for a word.
    """
    known = _PROSE_WORDS if is_prose else _WORDS
    return len(letters) > 3 or letters.casefold() in known or _SPOKEN.fullmatch(letters) is not None


def has_words(text: str, *, is_prose: bool) -> bool:
    """Whether an expression without long words contains a short one, alone or next to numbers and letters.

    Args:
        text: Expression without its commands and functions.
        is_prose: Whether the expression is outside a box or formula.

    Returns:
        True if there is a word.
    """
    return any(is_word(found[1], is_prose=is_prose) for found in _BESIDE.finditer(text))


def is_name(text: str) -> bool:
    """Whether a text is a name of three capital letters, such as ``SAS``."""
    return _NAME.fullmatch(text) is not None and text.casefold() not in _PROSE_WORDS


def things_counted(phrase: str, *, is_text: bool, is_one: bool) -> str | None:
    r"""The things counted, if the words after a number name them and nothing else.

    Args:
        phrase: Words after the number.
        is_text: Whether the words are in ``\text{…}``, where they need not contain a plural.
        is_one: Whether the number is 1, so that no plural is expected.

    Returns:
        The words in lower case, the last one in the singular; None if they mean something else.
    """
    phrase = phrase.casefold().strip(" .")
    words = re.split(r"[ '\-]+", phrase)
    if words[0] in {"more", "fewer"} and len(words) > 1:  # 5 more apples
        words = words[1:]
    if not _PHRASE.fullmatch(phrase) or len(words) > _MAX_WORDS:
        return None
    nouns = [word for word in words if word not in _JOINING]
    if any(len(word) < 3 or word in _NOT_COUNTED for word in nouns) and phrase != "times":
        return None
    if not nouns or words[0] in _JOINING:
        return None
    if not (is_text or is_one or any(_is_plural(word) for word in nouns)):
        return None
    return " ".join([*words[:-1], words[-1].removesuffix("s")])


def _is_plural(word: str) -> bool:
    return word in _PLURALS or (len(word) > 3 and word.endswith("s") and not _NO_PLURALS.fullmatch(word))
