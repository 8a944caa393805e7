"""Strict reading of JSON rows, one object per line or one array, with clear error messages; and writing of JSON values."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from drpt.data.record import LongInteger, RecordError, kind_words

_MOST_DIGITS = 4_000  # longest number that is converted; Python refuses 4,300 digits


def parse_line(raw: bytes) -> object:
    """Read the JSON value on a line.

    Args:
        raw: Line in UTF-8.

    Returns:
        The JSON value; a whole number of thousands of digits is a `LongInteger`.

    Raises:
        RecordError: The line is not JSON or not UTF-8, a key is repeated, or brackets are nested too deeply.
    """
    return _parsed(_decoded(raw).rstrip(), "write one complete object per line")


def parse_array(raw: bytes) -> list[object]:
    """Read a file that is one JSON array.

    Args:
        raw: Content of the file in UTF-8.

    Returns:
        Items of the array, as in `parse_line`.

    Raises:
        RecordError: The content is not an array, or `parse_line` would refuse it.
    """
    value = _parsed(_decoded(raw).rstrip(), "write one array, [{…}, {…}]")
    if not isinstance(value, list):
        keys = [key for key, inner in value.items() if isinstance(inner, list)] if isinstance(value, dict) else []
        within = f" The rows seem to be in the field {keys[0]!r}: write only this array." if keys else ""
        raise RecordError(f"expected one array of objects, [{{…}}, {{…}}], or one object per line.{within}")
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
        raise RecordError("brackets are nested too deeply (thousands of levels): flatten the field, or remove it.") from error


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RecordError(f"field {twice!r} appears twice in one object: remove one.")
    return found


def as_json(value: Any) -> str:  # Any: JSON values
    """Write a value as JSON, including numbers of any length.

    Args:
        value: Value of a field in one row.

    Returns:
        JSON without escaped characters.

    Raises:
        RecordError: JSON cannot represent the value: bytes, dates, numbers that are not finite, or brackets nested too deeply.
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
