"""Fields of one row of a file or data set: texts that are texts, and what is said of those that are none."""

import re
from collections.abc import Mapping

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
        value: Of a row.
        name: The field, for messages.

    Returns:
        The text.

    Raises:
        RecordError: It is no text, or holds half of a surrogate pair, which no tokenizer can read.
    """
    if not isinstance(value, str):
        raise RecordError(f"field '{name}' must be a string, not {kind_words(value)}.")
    if not value.isascii() and (found := _SURROGATE.search(value)):
        raise RecordError(
            f"field '{name}' holds \\u{ord(found[0]):04x} at character {found.start() + 1}, half of a surrogate pair and no "
            "character: write the pair, or the character itself, or take it out."
        )
    return value


def kind_words(value: object) -> str:
    """What a value of a row is, in words: ``a list``, ``the number 4``; never a whole long value."""
    names = {type(None): "null", dict: "an object", list: "a list", str: "a string", bool: "a truth value"}
    if value == [] and isinstance(value, list):
        return "an empty list"
    if isinstance(value, int | float) and not isinstance(value, bool):
        digits = f"of {len(value.digits)} digits" if isinstance(value, LongInteger) else str(value)
        return f"the number {digits}" if isinstance(value, LongInteger) else f"the number {digits[:40]}"
    return names.get(type(value), f"a value of the kind {type(value).__name__}")


class LongInteger(int):
    """A number of more digits than Python converts, such as an id that is one long number; its digits as they are."""

    digits: str

    def __new__(cls, digits: str) -> "LongInteger":
        """Keep the digits; as a number it is 0, and nobody calculates with it."""
        number = super().__new__(cls, 0)
        number.digits = digits
        return number
