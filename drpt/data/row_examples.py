"""The examples of one file or table: a small one is read and checked as a whole, of a large one the rows that are drawn."""

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
        self._known_columns: set[tuple[str, ...]] = set()
        self._unread: dict[str, None] = {}
        self.digest = rows.digest
        self._rows = rows if rows.is_large else None
        self._examples = [] if rows.is_large else self._read_all(rows)

    def stream(self, seed: int) -> Iterator[Example]:
        """Every example once; the same seed gives the same order on every machine.

        Args:
            seed: Seed that draws the order.

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
                _say_unread(self._label, tuple(self._unread))
                yield example

    def _example(self, rows: Rows, number: int) -> Example | None:
        """A row's example; None where the filter does not admit it."""
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
        if (names := tuple(record)) not in self._known_columns:  # a file of one format has few sets of them
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
            raise ValueError(f"{self._label}: no row is left: the filter admits none of its {len(rows)} {rows.unit}s.{why}")
        if self._reading.rules.needs_response and not any(example.messages[-1].has_text for example in examples):
            raise ValueError(
                f"{self._label}: all {len(examples)} responses are empty, beginning with {examples[0].source}, so that there "
                "is nothing to learn. See that the field of the responses is the right one, or fill it."
            )
        _say_unread(self._label, tuple(self._unread))
        return examples


def _where_keys(label: str, shown: str) -> str:
    """Where the keys that the faults recommend are found, for a file of a source that has no such keys."""
    option, is_file, name = label.partition("=")
    if not (is_file and option.startswith("data.source.") and ("columns={" in shown or "filter={" in shown)):
        return ""
    role = "general" if option.endswith(".general") else "target"
    return (
        f"\n  columns and filter are keys of data/{role}=jsonl: data/{role}=jsonl data.{role}.source.path={name} "
        f"'data.{role}.source.filter={{…}}'."
    )


@lru_cache(maxsize=64)  # a command opens its files more than once
def _say_unread(label: str, names: tuple[str, ...]) -> None:
    if names:
        shown = ", ".join(map(repr, names[:_SHOWN_NAMES])) + (
            f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
        )
        _log.info("%s: examples are not made of its columns %s; columns={…} chooses others.", label, shown)
