r"""Words and letters told apart: what is a word of English, what a product of variables, what a count of things.

Rules, for letters outside of ``\\text{…}``:

- Four letters and more are a word, and so are two or three that stand in the list here or that can be spoken (``Bob``,
  ``cat``). Others are variables, side by side: ``AB``, ``kx``, ``abc``.
- Three capitals are a name, whose letters keep their order: ``SAS`` is not ``SSA``.
- A number's words are things counted where they hold a plural (``72 red marbles``) and nothing that says more than that:
  ``5 less than``, ``5 is wrong`` and ``5 more`` are no number of things.
"""

import re

# Of two and three letters, that are no product; the rest is recognized by its form. Between variables, in a box or a formula,
# many of two letters are one (a t, b y).
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
# Words with which a phrase says more than what was counted.
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
    """Whether letters are a word, and no product of variables.

    Args:
        letters: At least two.
        is_prose: Whether they stand outside of a box or a formula.

    Returns:
        True for a word.
    """
    known = _PROSE_WORDS if is_prose else _WORDS
    return len(letters) > 3 or letters.casefold() in known or _SPOKEN.fullmatch(letters) is not None


def has_words(text: str, *, is_prose: bool) -> bool:
    """Whether short words stand in a text that has no long ones: alone, or beside numbers and letters without a sign between.

    Args:
        text: An expression without its commands and functions.
        is_prose: See `is_word`.

    Returns:
        True where there is one.
    """
    return any(is_word(found[1], is_prose=is_prose) for found in _BESIDE.finditer(text))


def is_name(text: str) -> bool:
    """Whether a text is a name of three capitals, also where nothing marks it: ``SAS``."""
    return _NAME.fullmatch(text) is not None and text.casefold() not in _PROSE_WORDS


def things_counted(phrase: str, *, is_text: bool, is_one: bool) -> str | None:
    r"""What was counted, where words after a number say that and nothing else.

    Args:
        phrase: The words.
        is_text: Whether they stand in ``\text{…}``, where a word is no product of variables and need not be a plural.
        is_one: Whether the number is 1: then no plural is to be expected.

    Returns:
        The words in small letters, the last one without a plural's s; None where they say something else.
    """
    phrase = phrase.casefold().strip(" .")
    words = re.split(r"[ '\-]+", phrase)
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
