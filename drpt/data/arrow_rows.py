"""Rows of Arrow's tables (parquet files, `datasets`), in which all structs of a column have the same fields.

A struct of a row that lacks a field of another row's has null there: the arguments of a call of one function have the names of
every other function's. A null field of a struct within a row is therefore taken for one that is not there; a null that was
written on purpose cannot be told from it, and files of JSON keep it.
"""

from collections.abc import Mapping
from typing import Any


class Struct(dict[str, Any]):  # Any: what a table holds
    """A struct without its null fields; their names are known."""

    absent: frozenset[str]

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__({name: without_padding(value) for name, value in fields.items() if value is not None})
        self.absent = frozenset(fields) - frozenset(self)


def without_padding(value: Any) -> Any:  # Any: likewise
    """A cell, the structs in it without their null fields.

    Args:
        value: A column's value in one row, as Arrow gives it.

    Returns:
        Structs as `Struct`; all else as it was.
    """
    if isinstance(value, Mapping):
        return Struct(value)
    if isinstance(value, list | tuple):
        return [without_padding(item) for item in value]
    return value


def arrow_record(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row by column: its own null cells stay, since columns are there for all rows.

    Args:
        row: As Arrow gives it.

    Returns:
        The cells, see `without_padding`.
    """
    return {name: without_padding(value) for name, value in row.items()}
