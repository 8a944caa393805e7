"""Filters the rows of a data set by equal values or by ranges of numbers; the option ``filter`` of sources."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drpt.checks import did_you_mean
from drpt.data.columns import cell
from drpt.data.record import LongInteger, RecordError, kind_words

_BOUNDS = ("min", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Range:
    """The half-open range [low, high), so that ``{min: 0.5}`` and ``{max: 0.5}`` neither overlap nor leave a gap."""

    low: float
    high: float

    def admits(self, value: Any, column: str) -> bool:  # Any: a cell
        if value is None:
            return False
        if isinstance(value, LongInteger):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RecordError(f"column {column!r} contains {kind_words(value)}, but its filter is a range of numbers.")
        return self.low <= value < self.high  # not a number is in no range


class RowFilter:
    """Keeps the rows that meet every condition.

    Args:
        option: Full name of the option, for messages.
        conditions: Conditions by column or path into a struct: a value that the cell must equal, or ``{min: …, max: …}`` with
            one or both bounds, ``min`` included and ``max`` excluded. An empty cell is in no range. None keeps all rows.

    Raises:
        ValueError: A range has other keys, a bound is not a number, or the range is empty.
    """

    def __init__(self, option: str, conditions: Mapping[str, Any] | None) -> None:
        if not isinstance(conditions, Mapping | None):
            raise ValueError(f"{option}={conditions!r} must map columns to values, such as {option}={{split: test}}.")
        self._conditions = {
            column: _read_range(f"{option}: {column}", wanted) if isinstance(wanted, Mapping) else wanted
            for column, wanted in (conditions or {}).items()
        }

    @property
    def columns(self) -> list[str]:
        """Paths of the columns in the conditions."""
        return list(self._conditions)

    def refusal(self, row: Mapping[str, Any]) -> str:
        """The first condition that a row does not meet, for a message where no row meets all.

        Args:
            row: A row that is not admitted, by column.

        Returns:
            The column, what it holds, and what was asked for.
        """
        column, wanted = next(item for item in self._conditions.items() if not _meets(row, *item))
        held = cell(row, column)
        shown = [f"{kind_words(one)} {one!r:.60}" if isinstance(one, str) else kind_words(one) for one in (held, wanted)]
        asked = f"[{wanted.low}, {wanted.high})" if isinstance(wanted, _Range) else shown[1]
        return f"{column!r} holds {shown[0]}, and the filter asks for {asked}"

    def admits(self, row: Mapping[str, Any]) -> bool:
        """Whether a row meets every condition.

        Args:
            row: Row by column.

        Returns:
            True if it does.

        Raises:
            RecordError: A cell compared with a range is not a number.
        """
        return all(_meets(row, column, wanted) for column, wanted in self._conditions.items())


def _meets(row: Mapping[str, Any], column: str, wanted: Any) -> bool:  # Any: a range, or what the cell must equal
    value = cell(row, column)
    return wanted.admits(value, column) if isinstance(wanted, _Range) else bool(value == wanted)


def _read_range(where: str, bounds: Mapping[str, Any]) -> _Range:
    for key in bounds:
        if key not in _BOUNDS:
            raise ValueError(f"{where}: {key!r} is not known.{did_you_mean(str(key), _BOUNDS)} Choices: {', '.join(_BOUNDS)}.")
    given = {key: value for key, value in bounds.items() if value is not None}
    for key, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{where}: {key}={value!r} must be a number.")
    low, high = given.get("min", -math.inf), given.get("max", math.inf)
    if not given or not low < high:
        raise ValueError(
            f"{where}: {dict(bounds)} is an empty range, since min is included and max excluded: give one of the two, or min "
            "below max."
        )
    return _Range(low=low, high=high)
