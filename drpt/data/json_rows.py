"""JSON as rows of a file have it: one object a line, or one array of all; read strictly, with what is wrong in words."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from drpt.data.record import LongInteger, RecordError, kind_words

_MOST_DIGITS = 4_000  # below the number from which on Python refuses


def parse_line(raw: bytes) -> object:
    """The value on a line.

    Args:
        raw: UTF-8.

    Returns:
        JSON values; a number of thousands of digits keeps them, see `LongInteger`.

    Raises:
        RecordError: It is no JSON, or not UTF-8, a key comes twice, or brackets are nested too deeply.
    """
    return _parsed(_decoded(raw).rstrip(), "write one complete object a line")


def parse_array(raw: bytes) -> list[object]:
    """The values of an array that is a whole file.

    Args:
        raw: UTF-8.

    Returns:
        See `parse_line`.

    Raises:
        RecordError: See `parse_line`; or it is no array.
    """
    value = _parsed(_decoded(raw).rstrip(), "write one array, [{…}, {…}]")
    if not isinstance(value, list):
        keys = [key for key, inner in value.items() if isinstance(inner, list)] if isinstance(value, dict) else []
        within = f" The rows seem to be in its field {keys[0]!r}: write that array alone." if keys else ""
        raise RecordError(f"one array of objects was expected, [{{…}}, {{…}}], or one object a line.{within}")
    return value


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(f"byte {error.start + 1}: not UTF-8: convert the file to UTF-8.") from error


def _parsed(text: str, fix: str) -> Any:  # Any: JSON values
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        raise RecordError(f"{place}: not JSON ({error.msg}): {fix}.") from error
    except RecursionError as error:
        raise RecordError(
            "brackets are nested too deeply to be read (thousands of levels): flatten the field, or take it out."
        ) from error


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RecordError(f"field {twice!r} is there twice in one object, and only one of the two can count: take one out.")
    return found


def as_json(value: Any) -> str:  # Any: JSON values
    """A value as JSON, numbers of any length included.

    Args:
        value: A field's value in one row, as read.

    Returns:
        JSON; characters as they are.

    Raises:
        RecordError: JSON cannot write it: bytes or dates, numbers that are none, brackets within brackets without end.
    """
    try:
        return _written(value)
    except RecursionError as error:
        raise RecordError("brackets nested so deeply that JSON cannot write them") from error


def _written(value: Any) -> str:
    if isinstance(value, LongInteger):
        return value.digits
    if isinstance(value, Mapping):
        return (
            f"{{{', '.join(f'{json.dumps(str(key), ensure_ascii=False)}: {_written(item)}' for key, item in value.items())}}}"
        )
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RecordError(f"{kind_words(value)}, which JSON cannot write") from error


def _integer(digits: str) -> int | LongInteger:
    return int(digits) if len(digits) <= _MOST_DIGITS else LongInteger(digits)
