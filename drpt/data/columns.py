"""Columns of a data set by their paths: ``prompt.text`` is the field ``text`` of the struct ``prompt``."""

import string
from collections.abc import Mapping, Sequence
from typing import Any


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


def cell(row: Mapping[str, Any], path: str) -> Any:  # Any: a cell holds what the data set put there
    """What a row holds at a path.

    Args:
        row: By column.
        path: One of `column_paths`. That it is one is not checked.

    Returns:
        The value; None, too, where a struct on the way is None.
    """
    if path in row:
        return row[path]
    # A column's own name may have dots.
    head = max((name for name in row if path.startswith(f"{name}.")), key=len)
    inner = row[head]
    return None if inner is None else cell(inner, path[len(head) + 1 :])


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

    Args:
        template: See `columns_in`.
        row: By column.

    Returns:
        Text of a template, where an empty cell is no text, not the word None; of a path alone, the cell.
    """
    return _FORMATTER.vformat(template, (), row) if "{" in template else cell(row, template)


class _RowFormatter(string.Formatter):
    """Reads dots as paths into structs; Python's own reads them as attributes."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        value = cell(kwargs, field_name)
        return "" if value is None else value, field_name


_FORMATTER = _RowFormatter()
