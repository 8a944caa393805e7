"""Recognises small talk, which asks nothing by itself, such as "Hi" or "How are you?"; no torch."""

import re

from drpt.data.wording import folded

_CHARACTERS = re.compile(r"[぀-ヿ㐀-鿿가-힯]")
_FEWEST_CHARACTERS = 4  # smallest number of these characters in a question
_WORD = re.compile(r"[^\W_぀-ヿ㐀-鿿가-힯]+")
_SMALL_WORDS = (
    "another continue else go more next on tell then "
    "a afternoon again ai all am and are ask assistant be bonjour bot bye can chat chatgpt ciao could course day dear do "
    "doing evening everyone few fine for friend get going good goodbye got great greetings guten hallo has have hello "
    "help hey hi hiya hola hope how howdy i im is it later let ll lot m may me meet morgen morning much my namaste need "
    "nice night no of ok okay one please pleased question questions re ready s salut see so some something start started "
    "sure tag talk thank thanks the there this to today up very want welcome well what with would yes yo you"
)
_SMALL = frozenset(_SMALL_WORDS.split())
_GREETING_WORDS = "こんにちは こんばんは おはよう おはようございます ありがとう 안녕하세요 早上好 晚上好 下午好 你好吗"
_GREETINGS = frozenset(_GREETING_WORDS.split())


def is_small_talk(text: str) -> bool:
    """Whether a turn is one word, or consists only of greetings, thanks and offers of help.

    Args:
        text: Content of a turn.

    Returns:
        True for small talk and for texts without words; False if there is a number, as in "Question 7".
    """
    if len(text) > 120:
        return False
    text = folded(text)
    if any(char.isdigit() for char in text):
        return False
    words = _WORD.findall(text)
    if characters := "".join(_CHARACTERS.findall(text)):
        return not words and (len(characters) < _FEWEST_CHARACTERS or characters in _GREETINGS)
    if len(words) <= 2:
        return len(words) < 2 or not _SMALL.isdisjoint(words)
    return all(word in _SMALL for word in words)
