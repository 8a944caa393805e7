"""Columns of a data set by their paths: ``prompt.text`` is a field of a struct, ``answers.text[0]`` an item of a list."""

import json
import math
import re
import string
from collections.abc import Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any

from drpt.checks import did_you_mean
from drpt.data.json_rows import as_json
from drpt.data.record import LongInteger, RecordError, kind_words

_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<place>-?\d+)\]")
_JSON = "json"  # format of a place in a template: the cell as JSON
# What columns may be mapped to: the fields of the known formats.
_FIELDS = ("messages", "conversations", "prompt", "response", "completion", "chosen", "rejected", "text", "tools", "system")


def checked_columns(option: str, columns: Mapping[str, str | None]) -> dict[str, str]:
    """A mapping from the fields of an example to columns.

    Args:
        option: Full name of the option, for messages.
        columns: By field: a column's path, or a text with paths in braces; fields that are null are left out.

    Returns:
        Fields that are not null.

    Raises:
        ValueError: There is no such field, no field is left, or a value is no text, or one whose braces name no columns.
    """
    for field, template in columns.items():
        if field not in _FIELDS:
            raise ValueError(f"{option}.{field} is not known.{did_you_mean(field, _FIELDS)} Choices: {', '.join(_FIELDS)}.")
        if template is not None and not isinstance(template, str):
            raise ValueError(f"{option}.{field}={template!r} must be a column's name, or a text with names in braces.")
        if template is not None:
            _check_braces(f"{option}.{field}", template)
    found = {field: template for field, template in columns.items() if template is not None}
    if not found:
        raise ValueError(f"{option} maps nothing; such as {option}={{prompt: question, response: answer}}, or null.")
    return found


def _check_braces(option: str, template: str) -> None:
    rule = 'Write the name of each column in braces, such as "{question}", and a brace of the text twice, "{{".'
    try:
        names = columns_in(template)
    except ValueError as error:  # of an opened brace, or a format that ends nowhere
        raise ValueError(f"{option}={template!r}: its braces cannot be read ({error}). {rule}") from error
    if not all(name.strip() for name in names):
        raise ValueError(f"{option}={template!r} names no column in braces. {rule}")


def column_paths(features: Mapping[str, Any]) -> list[str]:
    """Paths of all columns, and of the fields of those that are structs.

    Args:
        features: Of `datasets`, by column; a struct is a mapping in turn.

    Returns:
        In the order of the columns, each struct before its fields.
    """
    paths = []
    for name, feature in features.items():
        paths.append(name)
        if isinstance(feature, Mapping):
            paths += [f"{name}.{path}" for path in column_paths(feature)]
    return paths


def without_places(path: str) -> str:
    """A path up to its first list: ``answers.text`` of ``answers.text[0]``."""
    return path.partition("[")[0]


def cell(row: Mapping[str, Any], path: str) -> Any:  # Any: a cell holds what the data set put there
    """What a row holds at a path.

    Args:
        row: By column.
        path: A column, fields of structs after dots, items of lists in brackets.

    Returns:
        The value; None, too, where a struct or list on the way is None.

    Raises:
        RecordError: There is no such column, field or item.
    """
    if path in row:
        return row[path]
    # A column's own name may have dots.
    heads = [name for name in row if path.startswith((f"{name}.", f"{name}["))]
    if not heads:
        raise RecordError(f"there is no column {path!r}.{did_you_mean(path, row)} Columns: {', '.join(list(row)[:20])}.")
    head = max(heads, key=len)
    rest = path[len(head) :]
    if not re.fullmatch(rf"(?:{_STEP.pattern.replace('?P<name>', '').replace('?P<place>', '')})*", rest):
        raise RecordError(f"column {path!r}: write fields after dots and places in brackets, such as answers.text[0].")
    value, where = row[head], head
    for step in _STEP.finditer(rest):
        if value is None:
            return None
        value = _item(value, step, where)
        where += step[0]
    return value


def _item(value: Any, step: re.Match[str], where: str) -> Any:
    if step["name"] is not None:
        if not isinstance(value, Mapping):
            hint = f" Name an item: {where}[0]{step[0]}." if isinstance(value, list | tuple) else ""
            raise RecordError(f"column {where!r} holds {kind_words(value)}, which has no field {step['name']!r}.{hint}")
        if step["name"] in getattr(value, "absent", ()):
            return None
        if step["name"] not in value:
            raise RecordError(
                f"column {where!r} has no field {step['name']!r}.{did_you_mean(step['name'], value)} "
                f"Fields: {', '.join(value)}."
            )
        return value[step["name"]]
    if not isinstance(value, list | tuple):
        raise RecordError(f"column {where!r} holds {kind_words(value)}, no list, and {step[0]} asks for an item.")
    place = int(step["place"])
    if not -len(value) <= place < len(value):
        raise RecordError(f"column {where!r} has {len(value)} items, and {step[0]} asks for another.")
    return value[place]


def columns_in(template: str) -> list[str]:
    """Paths that a mapping's value names.

    Args:
        template: A path, or a text with paths in braces.

    Returns:
        In the order of the text.
    """
    if "{" not in template:
        return [template]
    return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]


def fill(template: str, row: Mapping[str, Any]) -> Any:  # Any: a path alone gives the cell as it is
    """The text that a template makes of a row, or the cell at a path.

    In a template an empty cell is no text; a number is written in digits, a truth value as true or false, a date as in ISO
    8601; ``{scores:json}`` writes any cell as JSON. Lists and structs are refused: a text must not hold what Python prints.

    Args:
        template: See `columns_in`.
        row: By column.

    Returns:
        Text of a template; of a path alone, the cell.

    Raises:
        RecordError: A column is not there, or a cell cannot be written as a text.
    """
    if "{" not in template:
        return cell(row, template)
    try:
        return _FORMATTER.vformat(template, (), row)
    except RecordError:
        raise
    except ValueError as error:  # of formats within formats
        raise RecordError(f"the text {template!r} cannot be filled ({error}).") from error


def fill_field(field: str, template: str, row: Mapping[str, Any]) -> Any:  # Any: see `fill`
    """What an example's field holds: see `fill`.

    Args:
        field: Its name, for messages.
        template: See `columns_in`.
        row: By column.

    Returns:
        A text, a list or struct of turns, or None.

    Raises:
        RecordError: See `fill`; or a column alone holds a number, a truth value or a date.
    """
    value = fill(template, row)
    if value is not None and not isinstance(value, str | list | tuple | Mapping):
        if not isinstance(value, LongInteger):
            _as_text(value, template)  # refuses what is no text in braces, either
        raise RecordError(
            f"field '{field}' must be a string, not {kind_words(value)}: in braces, '{{{template}}}', numbers, truth values "
            "and dates of a column are written as text."
        )
    return value


class _RowFormatter(string.Formatter):
    """Reads dots and brackets as paths; Python's own reads them as attributes and keys."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        self._path = field_name
        return cell(kwargs, field_name), field_name

    def convert_field(self, value: Any, conversion: Any) -> Any:
        if conversion is not None and not isinstance(value, str | None):
            raise RecordError(f"column {self._path!r}: !{conversion} writes what Python prints; {_ways(value, self._path)}.")
        return value if value is None else super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == _JSON:
            try:
                return as_json(value)
            except RecordError as error:
                raise RecordError(f"column {self._path!r} holds {error}.") from error
        if value is None:
            return ""
        if isinstance(value, LongInteger):
            if format_spec not in {"", "d"}:
                raise RecordError(f"column {self._path!r}: {kind_words(value)} has no format {format_spec!r}.")
            return value.digits
        if format_spec and isinstance(value, str | int | float | date | time | Decimal):
            try:
                return format(value, format_spec)
            except ValueError as error:
                raise RecordError(f"column {self._path!r}: {kind_words(value)} has no format {format_spec!r}.") from error
        return _as_text(value, self._path)


def _as_text(value: Any, path: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float) and math.isfinite(value):
        return json.dumps(float(value))
    if isinstance(value, date | time):  # a date and time is a date
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    raise RecordError(f"column {path!r} holds {kind_words(value)}, which is no text: {_ways(value, path)}.")


def _ways(value: Any, path: str) -> str:
    """How a cell can be written as a text: ways that work for it."""
    ways = [f"name an item, {{{path}[0]}}"] if isinstance(value, list | tuple) and value else []
    ways += [f"name a field, {{{path}.{next(iter(value))}}}"] if isinstance(value, Mapping) and value else []
    try:
        as_json(value)
    except RecordError:
        ways += [f"write {{{path}}}"] if isinstance(value, date | time | Decimal) else []
    else:
        ways.append(f"write it as JSON, {{{path}:json}}")
    return ", or ".join(ways) or "take a column of texts"


_FORMATTER = _RowFormatter()
