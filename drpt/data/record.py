"""Fields of one row of a file or data set: texts that are texts, and what is said of those that are none."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

_SURROGATE = re.compile("[\ud800-\udfff]")


class RecordError(ValueError):
    """A row is no example; the message names the field, what is wrong with it and the fix."""


def read_text(record: Mapping[str, object], key: str, name: str | None = None) -> str:
    """A field that must be a text.

    Args:
        record: Holds it.
        key: Its name in the record.
        name: Its name for messages, where that is longer.

    Returns:
        The text.

    Raises:
        RecordError: It is missing, no text, or a text that cannot be written down.
    """
    if key not in record:
        raise RecordError(f"field '{name or key}' is missing.")
    return checked_text(record[key], name or key)


def checked_text(value: object, name: str) -> str:
    """A value that must be a text.

    Args:
        value: A field's value in one row, as read.
        name: The field, for messages.

    Returns:
        The text.

    Raises:
        RecordError: It is no text, or holds half of a surrogate pair, which no tokenizer can read.
    """
    if not isinstance(value, str):
        way = ": fill it in, or take the row out" if value is None else ""
        raise RecordError(f"field '{name}' must be a string, not {kind_words(value)}{way}.")
    if not value.isascii() and (found := _SURROGATE.search(value)):
        raise RecordError(
            f"field '{name}' holds \\u{ord(found[0]):04x} at character {found.start() + 1}, half of a surrogate pair and no "
            "character: write the pair, or the character itself, or take it out."
        )
    return value


def kind_words(value: object) -> str:
    """What a value of a row is, in words: ``a list``, ``the number 4``; never a whole long value."""
    if isinstance(value, Mapping):
        return "an object"
    names = {type(None): "null", list: "a list", str: "a string", bool: "a truth value"}
    if value == [] and isinstance(value, list):
        return "an empty list"
    if isinstance(value, LongInteger):
        return f"the number of {len(value.digits.lstrip('-'))} digits"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"the number {str(value)[:40]}"
    return names.get(type(value), f"a value of the kind {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class LongInteger:
    """A number of more digits than Python converts, such as an id that is one long number.

    It is no number of Python's, so that what does not know it fails and does not write another number.
    """

    digits: str  # as they are written, with the sign

    def __float__(self) -> float:
        """The number in comparisons: the largest there is, on its side of zero."""
        return -sys.float_info.max if self.digits.startswith("-") else sys.float_info.max
