"""Converts rows of Arrow tables (parquet files, `datasets`), in which all structs of a column have the same fields.

Arrow fills fields that a row's struct lacks with null: the arguments of a tool call get the names of every other function's
arguments. Null fields of structs are therefore treated as absent. Intended nulls cannot be distinguished; JSON keeps them.
"""

from collections.abc import Mapping
from typing import Any


class Struct(dict[str, Any]):  # Any: values of a table
    """A struct without its null fields, whose names are kept in ``absent``."""

    absent: frozenset[str]

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__({name: without_padding(value) for name, value in fields.items() if value is not None})
        self.absent = frozenset(fields) - frozenset(self)


def without_padding(value: Any) -> Any:  # Any: values of a table
    """Remove the null fields of all structs in a cell.

    Args:
        value: Value of a column in one row, as returned by Arrow.

    Returns:
        The value, with structs replaced by `Struct`.
    """
    if isinstance(value, Mapping):
        return Struct(value)
    if isinstance(value, list | tuple):
        return [without_padding(item) for item in value]
    return value


def arrow_record(row: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the null fields of all structs in a row; null cells stay, since every row has all columns.

    Args:
        row: Row by column, as returned by Arrow.

    Returns:
        Cells by column, converted by `without_padding`.
    """
    return {name: without_padding(value) for name, value in row.items()}
