"""Reads text fields of a row with clear errors; used by all readers of rows."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

_SURROGATE = re.compile("[\ud800-\udfff]")


class RecordError(ValueError):
    """A row is not a valid example; the message names the field, what is wrong with it and the fix."""


def read_text(record: Mapping[str, object], key: str, name: str | None = None) -> str:
    """Read a field that must be text.

    Args:
        record: Row or turn with the field.
        key: Name of the field in the record.
        name: Full name of the field for messages; None = ``key``.

    Returns:
        The text.

    Raises:
        RecordError: The field is missing, is not text, or is not valid Unicode.
    """
    if key not in record:
        raise RecordError(f"field '{name or key}' is missing.")
    return checked_text(record[key], name or key)


def checked_text(value: object, name: str) -> str:
    """Require that a value is text.

    Args:
        value: Value of a field in one row.
        name: Name of the field, for messages.

    Returns:
        The text.

    Raises:
        RecordError: The value is not text, or contains half of a surrogate pair, which no tokenizer can read.
    """
    if not isinstance(value, str):
        way = ": fill it in, or take the row out" if value is None else ""
        raise RecordError(f"field '{name}' must be a string, not {kind_words(value)}{way}.")
    if not value.isascii() and (found := _SURROGATE.search(value)):
        raise RecordError(
            f"field '{name}' contains \\u{ord(found[0]):04x} at character {found.start() + 1}, which is half of a surrogate "
            "pair: write the pair or the character itself, or remove it."
        )
    return value


def kind_words(value: object) -> str:
    """Describe a value of a row for messages, such as ``a list`` or ``the number 4``."""
    if isinstance(value, Mapping):
        return "an object"
    names = {type(None): "null", list: "a list", str: "a string", bool: "a Boolean"}
    if value == [] and isinstance(value, list):
        return "an empty list"
    if isinstance(value, LongInteger):
        return f"a number with {len(value.digits.lstrip('-'))} digits"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"the number {str(value)[:40]}"
    return names.get(type(value), f"a value of type {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class LongInteger:
    """A whole number with more digits than Python converts, such as a long id.

    It is not a Python number, so that code which does not support it fails instead of changing it.
    """

    digits: str  # digits as written, with the sign

    def __float__(self) -> float:
        """The largest finite float with the sign of the number, for comparisons."""
        return -sys.float_info.max if self.digits.startswith("-") else sys.float_info.max
