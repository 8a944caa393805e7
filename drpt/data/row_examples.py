"""The examples of one file or table: small ones are read and checked as a whole, large ones row by row when drawn."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from drpt.data.columns import checked_columns, fill_field
from drpt.data.example import Example
from drpt.data.formats import RowRules, check_mapping, read_row, unread_columns
from drpt.data.record import RecordError
from drpt.data.row_filter import RowFilter
from drpt.data.rows import Rows, open_rows
from drpt.data.shuffled import shuffled

_SHOWN_FAULTS = 10
_SHOWN_NAMES = 12
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How rows are read as examples."""

    rules: RowRules
    columns: Mapping[str, str] | None = None  # columns by field; None = the columns have the names of a known format
    conditions: RowFilter | None = None  # conditions on the rows to keep; None = keep all


def file_examples(
    option: str,
    name: str,
    rules: RowRules,
    *,
    columns: Mapping[str, str | None] | None = None,
    conditions: Mapping[str, Any] | None = None,
) -> "RowExamples":
    """Open the examples of a local file.

    Args:
        option: Full name of the option that names the file, for messages.
        name: Path of the file; see `drpt.data.rows` for the formats.
        rules: Requirements on the rows.
        columns: Columns by field, see `checked_columns`; None = the columns have the names of a known format.
        conditions: Conditions on the rows to keep, see `RowFilter`; None = keep all.

    Returns:
        At least one example.

    Raises:
        ValueError: The file is missing, empty or malformed; the message lists file, line, field and fix.
    """
    section = option.rpartition(".")[0]
    prefix = f"{section}." if section else ""
    mapping = None if columns is None else checked_columns(f"{prefix}columns", columns)
    if mapping is not None:
        check_mapping(f"{prefix}columns", mapping, rules)
    reading = Reading(
        rules=rules,
        columns=mapping,
        conditions=RowFilter(f"{prefix}filter", conditions),
    )
    return RowExamples(f"{option}={name}", open_rows(option, name), reading)


class RowExamples:
    """The examples of a file or table, in an order that depends on a seed.

    Args:
        label: Option and name of the file or table, for messages.
        rows: Rows of the file or table.
        reading: How rows are read as examples.

    Raises:
        ValueError: Rows are malformed, or the filter keeps none; the message lists place, field and fix.
    """

    def __init__(self, label: str, rows: Rows, reading: Reading) -> None:
        self._label, self._reading = label, reading
        self._known_columns: set[tuple[str, ...]] = set()
        self._unread: dict[str, None] = {}
        self.digest = rows.digest
        self._rows = rows if rows.is_large else None
        self._examples = [] if rows.is_large else self._read_all(rows)

    def stream(self, seed: int) -> Iterator[Example]:
        """Iterate over every example once; the same seed gives the same order on every machine.

        Args:
            seed: Seed of the order.

        Returns:
            Iterator of examples.

        Raises:
            ValueError: A row of a large file is malformed, which is found only when it is drawn.
        """
        return shuffled(self._examples, seed) if self._rows is None else self._drawn(self._rows, seed)

    def _drawn(self, rows: Rows, seed: int) -> Iterator[Example]:
        for number in shuffled(range(len(rows)), seed):
            try:
                example = self._example(rows, number)
            except RecordError as error:
                raise ValueError(f"{self._label}: a malformed {rows.unit}:\n  {rows.place(number)}: {error}") from error
            if example is not None:
                _log_unread(self._label, tuple(self._unread))
                yield example

    def _example(self, rows: Rows, number: int) -> Example | None:
        """The example of a row; None if the filter rejects the row."""
        record, reading = rows.record(number), self._reading
        if isinstance(record, Mapping):
            if reading.conditions is not None and not reading.conditions.admits(record):
                return None
            if reading.columns is not None:
                record = {field: fill_field(field, template, record) for field, template in reading.columns.items()}
        example = read_row(record, rows.place(number), reading.rules)
        if reading.columns is None and isinstance(record, Mapping):
            self._note_unread(record)
        return example

    def _note_unread(self, record: Mapping[str, object]) -> None:
        if (names := tuple(record)) not in self._known_columns:  # rows of one file have few distinct sets of columns
            self._known_columns.add(names)
            self._unread |= dict.fromkeys(unread_columns(record, self._reading.rules))

    def _first_refusal(self, rows: Rows) -> str:
        record, conditions = rows.record(0), self._reading.conditions
        assert isinstance(record, Mapping)
        assert conditions is not None
        return conditions.refusal(record)

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
            kind = f"{rows.unit}{'s'[: len(faults) != 1]}"
            where = _where_keys(self._label, shown)
            raise ValueError(f"{self._label}: {len(faults)} malformed {kind}:{shown}{more}{where}")
        if not examples:
            why = f" In the first, {self._first_refusal(rows)}." if self._reading.conditions is not None else ""
            raise ValueError(f"{self._label}: no row is left: the filter rejects all {len(rows)} {rows.unit}s.{why}")
        if self._reading.rules.needs_response and not any(example.messages[-1].has_text for example in examples):
            raise ValueError(
                f"{self._label}: all {len(examples)} responses are empty, beginning with {examples[0].source}, so there is "
                "nothing to learn. Check that the right field is mapped to the response."
            )
        _log_unread(self._label, tuple(self._unread))
        return examples


def _where_keys(label: str, shown: str) -> str:
    """Explain where the recommended keys ``columns`` and ``filter`` exist, if the source does not have them."""
    option, is_file, name = label.partition("=")
    if not (is_file and option.startswith("data.source.") and ("columns={" in shown or "filter={" in shown)):
        return ""
    role = "general" if option.endswith(".general") else "target"
    return (
        f"\n  columns and filter are keys of data/{role}=jsonl: data/{role}=jsonl data.{role}.source.path={name} "
        f"'data.{role}.source.filter={{…}}'."
    )


@lru_cache(maxsize=64)  # a command opens its files more than once
def _log_unread(label: str, names: tuple[str, ...]) -> None:
    if names:
        shown = ", ".join(map(repr, names[:_SHOWN_NAMES])) + (
            f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
        )
        _log.info("%s: the columns %s are not read; columns={…} maps other columns.", label, shown)
