"""The examples of one file or table: a small one is read and checked as a whole, of a large one the rows that are drawn."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from drpt.data.columns import checked_columns, fill_field
from drpt.data.example import Example
from drpt.data.formats import RowRules, read_row
from drpt.data.record import RecordError
from drpt.data.row_filter import RowFilter
from drpt.data.rows import Rows, open_rows
from drpt.data.shuffled import shuffled

_SHOWN_FAULTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How rows become examples."""

    rules: RowRules
    columns: Mapping[str, str] | None = None  # which columns make an example; None: their names are those of a known format
    conditions: RowFilter | None = None  # which rows to keep; None: all


def file_examples(
    option: str,
    name: str,
    rules: RowRules,
    *,
    columns: Mapping[str, str | None] | None = None,
    conditions: Mapping[str, Any] | None = None,
) -> "RowExamples":
    """The examples of a local file.

    Args:
        option: Full name of the option that names the file, for messages.
        name: The file; see `drpt.data.rows` for the formats.
        rules: What is asked of its rows.
        columns: Which columns make an example, where their names are not those of a known format: see `checked_columns`.
        conditions: Which rows to keep, see `RowFilter`; None keeps all.

    Returns:
        At least one example.

    Raises:
        ValueError: The file is missing, empty or malformed; the message lists file, line, field and fix.
    """
    section = option.rpartition(".")[0]
    prefix = f"{section}." if section else ""
    reading = Reading(
        rules=rules,
        columns=None if columns is None else checked_columns(f"{prefix}columns", columns),
        conditions=RowFilter(f"{prefix}filter", conditions),
    )
    return RowExamples(f"{option}={name}", open_rows(option, name), reading)


class RowExamples:
    """Examples in an order drawn by a seed.

    Args:
        label: Option and name of the file or table, for messages.
        rows: Its rows.
        reading: How they become examples.

    Raises:
        ValueError: Rows are malformed, or none is left; the message lists place, field and fix.
    """

    def __init__(self, label: str, rows: Rows, reading: Reading) -> None:
        self._label, self._reading = label, reading
        self.digest = rows.digest
        self._rows = rows if rows.is_large else None
        self._examples = [] if rows.is_large else self._read_all(rows)

    def stream(self, seed: int) -> Iterator[Example]:
        """Every example once; the same seed gives the same order on every machine.

        Args:
            seed: Of the order.

        Returns:
            Examples.

        Raises:
            ValueError: Of a large file: a row that is drawn is malformed.
        """
        return shuffled(self._examples, seed) if self._rows is None else self._drawn(self._rows, seed)

    def _drawn(self, rows: Rows, seed: int) -> Iterator[Example]:
        for number in shuffled(range(len(rows)), seed):
            try:
                example = self._example(rows, number)
            except RecordError as error:
                raise ValueError(f"{self._label}: a malformed {rows.unit}:\n  {rows.place(number)}: {error}") from error
            if example is not None:
                yield example

    def _example(self, rows: Rows, number: int) -> Example | None:
        """A row's example; None where the filter does not admit it."""
        record, reading = rows.record(number), self._reading
        if isinstance(record, Mapping):
            if reading.conditions is not None and not reading.conditions.admits(record):
                return None
            if reading.columns is not None:
                record = {field: fill_field(field, template, record) for field, template in reading.columns.items()}
        return read_row(record, rows.place(number), reading.rules)

    def _read_all(self, rows: Rows) -> list[Example]:
        examples: list[Example] = []
        faults: list[str] = []
        for number in range(len(rows)):
            try:
                example = self._example(rows, number)
                examples += [] if example is None else [example]
            except RecordError as error:
                faults.append(f"{rows.place(number)}: {error}")
        if faults:
            more = f"\n  … and {len(faults) - _SHOWN_FAULTS} more" if len(faults) > _SHOWN_FAULTS else ""
            shown = "".join(f"\n  {fault}" for fault in faults[:_SHOWN_FAULTS])
            raise ValueError(f"{self._label}: {len(faults)} malformed {rows.unit}{'s'[: len(faults) != 1]}:{shown}{more}")
        if not examples:
            raise ValueError(f"{self._label}: no row is left: the filter admits none of its {len(rows)} {rows.unit}s.")
        if self._reading.rules.needs_response and not any(example.messages[-1].has_text for example in examples):
            raise ValueError(
                f"{self._label}: all {len(examples)} responses are empty, beginning with {examples[0].source}, so that there "
                "is nothing to learn. See that the field of the responses is the right one, or fill it."
            )
        return examples
