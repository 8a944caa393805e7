"""Reads columns of a row by path: ``prompt.text`` is a field of a struct, ``answers.text[0]`` an item of a list.

Sources use it for the options ``columns`` and ``filter``.
"""

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
_JSON = "json"  # format specifier in a template that writes the cell as JSON
# Fields of the known formats, to which columns may be mapped.
_FIELDS = ("messages", "conversations", "prompt", "response", "completion", "chosen", "rejected", "text", "tools", "system")


def checked_columns(option: str, columns: Mapping[str, str | None]) -> dict[str, str]:
    """Check a mapping from the fields of an example to columns.

    Args:
        option: Full name of the option, for messages.
        columns: Path of a column, or template with paths in braces, by field; null fields are ignored.

    Returns:
        The mapping without null fields.

    Raises:
        ValueError: A field is unknown, no field is mapped, or a value is not a text or has braces without a column.
    """
    for field, template in columns.items():
        if field not in _FIELDS:
            raise ValueError(f"{option}.{field} is not known.{did_you_mean(field, _FIELDS)} Choices: {', '.join(_FIELDS)}.")
        if template is not None and not isinstance(template, str):
            raise ValueError(f"{option}.{field}={template!r} must be the name of a column, or a text with names in braces.")
        if template is not None:
            _check_braces(f"{option}.{field}", template)
    found = {field: template for field, template in columns.items() if template is not None}
    if not found:
        raise ValueError(f"{option} maps no field. Write {option}={{prompt: question, response: answer}}, or null.")
    return found


def _check_braces(option: str, template: str) -> None:
    rule = 'Write the name of each column in braces, such as "{question}", and a literal brace twice, "{{".'
    try:
        names = columns_in(template)
    except ValueError as error:  # a brace that is not closed
        raise ValueError(f"{option}={template!r}: its braces cannot be read ({error}). {rule}") from error
    if not all(name.strip() for name in names):
        raise ValueError(f"{option}={template!r} names no column in braces. {rule}")


def column_paths(features: Mapping[str, Any]) -> list[str]:
    """Paths of all columns and of the fields of structs.

    Args:
        features: Features of `datasets` by column; those of a struct are a nested mapping.

    Returns:
        Paths in the order of the columns, each struct before its fields.
    """
    paths = []
    for name, feature in features.items():
        paths.append(name)
        if isinstance(feature, Mapping):
            paths += [f"{name}.{path}" for path in column_paths(feature)]
    return paths


def without_places(path: str) -> str:
    """Path up to its first list index: ``answers.text`` for ``answers.text[0]``."""
    return path.partition("[")[0]


def cell(row: Mapping[str, Any], path: str) -> Any:  # Any: cells have values of any type
    """Value of a row at a path.

    Args:
        row: Row by column.
        path: Name of a column, with fields of structs after dots and indices of lists in brackets.

    Returns:
        The value; None also if a struct or list on the path is None.

    Raises:
        RecordError: The column, field or item does not exist.
    """
    if path in row:
        return row[path]
    # The name of a column may contain dots.
    heads = [name for name in row if path.startswith((f"{name}.", f"{name}["))]
    if not heads:
        raise RecordError(f"there is no column {path!r}.{did_you_mean(path, row)} Columns: {', '.join(list(row)[:20])}.")
    head = max(heads, key=len)
    rest = path[len(head) :]
    if not re.fullmatch(rf"(?:{_STEP.pattern.replace('?P<name>', '').replace('?P<place>', '')})*", rest):
        raise RecordError(f"column {path!r}: write fields after dots and indices in brackets, such as answers.text[0].")
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
            raise RecordError(f"column {where!r} contains {kind_words(value)}, which has no field {step['name']!r}.{hint}")
        if step["name"] in getattr(value, "absent", ()):
            return None
        if step["name"] not in value:
            raise RecordError(
                f"column {where!r} has no field {step['name']!r}.{did_you_mean(step['name'], value)} "
                f"Fields: {', '.join(value)}."
            )
        return value[step["name"]]
    if not isinstance(value, list | tuple):
        raise RecordError(f"column {where!r} contains {kind_words(value)}, not a list, so {step[0]} does not exist.")
    place = int(step["place"])
    if not -len(value) <= place < len(value):
        raise RecordError(f"column {where!r} has {len(value)} items, so {step[0]} does not exist.")
    return value[place]


def columns_in(template: str) -> list[str]:
    """Paths of the columns that a value of a mapping names.

    Args:
        template: Path of a column, or template with paths in braces.

    Returns:
        Paths in the order of the template.
    """
    if "{" not in template:
        return [template]
    return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]


def fill(template: str, row: Mapping[str, Any]) -> Any:  # Any: for a path, the cell itself
    """Fill a template with the values of a row, or look up the cell at a path.

    In a template an empty cell becomes an empty text, a number its digits, a Boolean true or false, and a date its ISO 8601
    form; ``{scores:json}`` writes any cell as JSON. Other lists and structs are refused, since their text would be Python's.

    Args:
        template: Path of a column, or template with paths in braces.
        row: Row by column.

    Returns:
        The filled template, or the cell if there is only a path.

    Raises:
        RecordError: A column does not exist, or a cell cannot be written as text.
    """
    if "{" not in template:
        return cell(row, template)
    try:
        return _FORMATTER.vformat(template, (), row)
    except RecordError:
        raise
    except ValueError as error:  # raised for nested formats
        raise RecordError(f"the text {template!r} cannot be filled ({error}).") from error


def fill_field(field: str, template: str, row: Mapping[str, Any]) -> Any:  # Any: see `fill`
    """Value of a field of an example; see `fill`.

    Args:
        field: Name of the field, for messages.
        template: Path of a column, or template with paths in braces.
        row: Row by column.

    Returns:
        A text, a list or struct of turns, or None.

    Raises:
        RecordError: `fill` fails; or there is only a path, and the column contains a number, a Boolean or a date.
    """
    value = fill(template, row)
    if value is not None and not isinstance(value, str | list | tuple | Mapping):
        if not isinstance(value, LongInteger):
            _as_text(value, template)  # refuses values that braces cannot write as text either
        raise RecordError(
            f"field '{field}' must be a string, not {kind_words(value)}. Write the column in braces, '{{{template}}}', to "
            "turn numbers, Booleans and dates into text."
        )
    return value


class _RowFormatter(string.Formatter):
    """Formatter that reads dots and brackets as paths, where Python's own reads attributes and keys."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        self._path = field_name
        return cell(kwargs, field_name), field_name

    def convert_field(self, value: Any, conversion: Any) -> Any:
        if conversion is not None and not isinstance(value, str | None):
            raise RecordError(f"column {self._path!r}: !{conversion} writes Python's notation; {_ways(value, self._path)}.")
        return value if value is None else super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == _JSON:
            try:
                return as_json(value)
            except RecordError as error:
                raise RecordError(f"column {self._path!r} contains {error}.") from error
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
    if isinstance(value, date | time):  # datetime is a subclass of date
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    raise RecordError(f"column {path!r} contains {kind_words(value)}, which is not text: {_ways(value, path)}.")


def _ways(value: Any, path: str) -> str:
    """Ways to write a cell as text, for messages."""
    ways = [f"name an item, {{{path}[0]}}"] if isinstance(value, list | tuple) and value else []
    ways += [f"name a field, {{{path}.{next(iter(value))}}}"] if isinstance(value, Mapping) and value else []
    try:
        as_json(value)
    except RecordError:
        ways += [f"write {{{path}}}"] if isinstance(value, date | time | Decimal) else []
    else:
        ways.append(f"write it as JSON, {{{path}:json}}")
    return ", or ".join(ways) or "choose a column of texts"


_FORMATTER = _RowFormatter()
