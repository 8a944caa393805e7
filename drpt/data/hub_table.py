"""Loads one table from the Hugging Face hub or a local file, for the sources in `drpt.data.hub` and `drpt.data.hub_part`."""

import logging
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from drpt.checks import did_you_mean
from drpt.data.arrow_rows import arrow_record
from drpt.data.columns import checked_columns, column_paths, columns_in, without_places
from drpt.data.formats import AUTO, RowRules, check_format, check_mapping
from drpt.data.record import RecordError
from drpt.data.row_examples import Reading, RowExamples
from drpt.data.row_filter import RowFilter
from drpt.data.rows import KINDS, Rows, open_rows

_FIELDS = ({"messages"}, {"conversations"}, {"prompt", "response"}, {"prompt", "completion"}, {"text"})
_PAIRS = ({"prompt", "chosen", "rejected"}, {"chosen", "rejected"})
_BESIDE = {"tools", "system"}
_PROMPT = {"prompt"}  # sufficient if no response is needed
_LARGE_ROWS = 200_000  # number of rows from which on rows are checked only when they are drawn
_FIX = " Map existing columns, or set {option}.columns=null if they have the names of a known format."
_TIMEOUT_SECONDS = 4.0


@dataclass(frozen=True, kw_only=True)
class HubTable:
    r"""One table: arguments of `datasets.load_dataset`, and the columns of which examples are made.

    ``path`` is a hub name, a builder of `datasets` (``json`` with ``data_files``), a folder, or a local file that
    `drpt.data.rows` reads. ``columns`` maps ``messages``, or ``prompt`` and ``response``, to the name of a column or, for
    texts, to a template such as ``"{instruction}\n{input}"``; without it the format is recognised by the columns.
    ``prompt.text`` is the field ``text`` of the struct column ``prompt``, ``answers.text[0]`` an item of a list.
    """

    path: str
    columns: Mapping[str, str] | None = None
    name: str | None = None
    split: str = "train"
    revision: str | None = None
    data_files: Any = None  # files as load_dataset takes them. Any: a file, a list or a mapping
    filter: Mapping[str, Any] | None = None  # conditions on the rows to keep; see RowFilter
    format: str = AUTO  # format of the rows, a key of drpt.data.formats.FORMATS; used if there is no mapping of columns

    @property
    def is_local_file(self) -> bool:
        """Whether ``path`` is a local file that `drpt.data.rows` reads."""
        return self.path.lower().endswith(KINDS) and not self.path.startswith(("http://", "https://", "hf://"))

    @property
    def is_pair(self) -> bool:
        """Whether the rows are preferences."""
        return "chosen" in (self.columns or {}) or self.format == "pair"

    def lacks_split(self, other: "HubTable") -> bool:
        """Whether this names another split of the same local file, which has only one split.

        Args:
            other: Table to compare with.

        Returns:
            True if there is no such split.
        """
        same = (self.path, self.data_files) == (other.path, other.data_files)
        return same and self.split != other.split and (self.is_local_file or isinstance(self.data_files, str | list))


def read_table(option: str, keys: Mapping[str, Any], needs_response: bool) -> HubTable:
    """Check the keys of a table, before anything is loaded.

    Args:
        option: Full name of the option, for messages.
        keys: Keys of `HubTable`.
        needs_response: Whether each example must have a response.

    Returns:
        The table.

    Raises:
        ValueError: A key is unknown or missing, or a mapping or filter is invalid.
    """
    known = list(HubTable.__dataclass_fields__)
    for key in keys:
        if key not in known:
            raise ValueError(f"{option}.{key} is not known.{did_you_mean(key, known)} Choices: {', '.join(known)}.")
    if not keys.get("path"):
        raise ValueError(
            f"{option}.path is required, e.g. {option}.path=tatsu-lab/alpaca "
            f"'{option}.columns={{prompt: instruction, response: output}}'."
        )
    given = {field: template for field, template in (keys.get("columns") or {}).items() if template is not None}
    columns = checked_columns(f"{option}.columns", given) if given else None
    if columns is not None:
        fields = set(columns) - _BESIDE
        if fields not in (*_FIELDS, *_PAIRS) and (needs_response or fields != _PROMPT):
            alone = " data.source.needs_response=false accepts prompts without responses." if fields == _PROMPT else ""
            raise ValueError(
                f"{option}.columns maps {sorted(columns)}; it must map either messages, or both prompt and response. Set the "
                f"others to null: {option}.columns.messages=messages {option}.columns.prompt=null "
                f"{option}.columns.response=null.{alone}"
            )
        rules = RowRules(needs_response=needs_response, needs_pair="chosen" in columns, admits_text=True)
        check_mapping(f"{option}.columns", columns, rules)
    check_format(f"{option}.format", keys.get("format", AUTO))
    RowFilter(f"{option}.filter", keys.get("filter"))  # check it now, before data are loaded
    return HubTable(**(dict(keys) | {"columns": columns}))


def load_table(option: str, table: HubTable, *, needs_response: bool, admits_text: bool) -> RowExamples:
    """Load a table and read its rows as examples.

    Args:
        option: Full name of the option, for messages.
        table: Table returned by `read_table`.
        needs_response: Whether each example must have a response.
        admits_text: Whether plain texts are accepted.

    Returns:
        The examples.

    Raises:
        ValueError: The table cannot be loaded, a column is missing, a row is malformed, or the filter keeps no row.
    """
    rows = open_rows(f"{option}.path", table.path) if table.is_local_file else _LoadedTable(option, table)
    wanted = RowFilter(f"{option}.filter", table.filter)
    if isinstance(rows, _LoadedTable):
        rows.check_columns(option, table, wanted)
    elif table.columns is not None:
        _check_first_row(option, table, rows)
    rules = RowRules(
        needs_response=needs_response,
        needs_pair=table.is_pair,
        admits_text=admits_text and needs_response and not table.is_pair,
        format=table.format,
    )
    return RowExamples(option, rows, Reading(rules=rules, columns=table.columns, conditions=wanted))


class _LoadedTable(Rows):
    """Rows of a table loaded by `datasets`."""

    def __init__(self, option: str, table: HubTable) -> None:
        import datasets

        arguments = f"({table.path!r}, {table.name!r}, split={table.split!r})"
        self._table = table
        with _quick_if_offline(table) as is_offline:
            try:
                self._rows = datasets.load_dataset(
                    table.path, table.name, split=table.split, revision=table.revision, data_files=table.data_files
                )
            except Exception as error:  # datasets raises errors of many types
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                if is_offline:
                    raise ValueError(
                        f"{option}.path={table.path}: the Hugging Face hub cannot be reached, and the data set is not in the "
                        f"cache ({reason}). Use a local file, {option}.path=FILE.jsonl, or load the data set on a machine with "
                        "a network and copy its cache here (HF_HOME)."
                    ) from error
                raise ValueError(f"{option}: datasets.load_dataset{arguments} failed: {reason}") from error
        self.is_large = len(self._rows) > _LARGE_ROWS
        self.digest = str(self._rows._fingerprint) if self.is_large else None

    def __len__(self) -> int:
        return len(self._rows)

    def place(self, number: int) -> str:
        return f"{self._table.path}, split {self._table.split}, row {number}"

    def record(self, number: int) -> object:
        return arrow_record(self._rows[number])

    def check_columns(self, option: str, table: HubTable, wanted: RowFilter) -> None:
        """Refuse names of columns that do not exist, before any row is read."""
        columns = column_paths(self._rows.features)
        named = [("columns", column) for template in (table.columns or {}).values() for column in columns_in(template)]
        for key, path in [*named, *(("filter", column) for column in wanted.columns)]:
            column = without_places(path)
            # Paths below a list can be checked only with its items.
            if column not in columns and path not in columns:
                raise ValueError(
                    f"{option}.{key}: {table.path} has no column {path!r}.{did_you_mean(path, columns)} "
                    f"Columns: {', '.join(columns)}.{_FIX.format(option=option) if key == 'columns' else ''}"
                )


def _check_first_row(option: str, table: HubTable, rows: Rows) -> None:
    """Refuse a mapping from columns that a local file lacks, with one error instead of one for each row."""
    try:
        record = rows.record(0)
    except RecordError:  # reported with its place when the rows are read
        return
    if not isinstance(record, Mapping):
        return
    for path in [path for template in (table.columns or {}).values() for path in columns_in(template)]:
        if path not in record and not any(path.startswith((f"{name}.", f"{name}[")) for name in record):
            raise ValueError(
                f"{option}.columns: {table.path} has no column {path!r}.{did_you_mean(path, record)} Columns: "
                f"{', '.join(record)}.{_FIX.format(option=option)}"
            )


@contextmanager
def _quick_if_offline(table: HubTable) -> Iterator[bool]:
    """Without a network, make `datasets` use its cache at once, since its retries would take half a minute."""
    import datasets.config
    import huggingface_hub.constants

    is_here = table.data_files is not None or Path(table.path).expanduser().exists()
    if is_here or huggingface_hub.constants.HF_HUB_OFFLINE or _is_reachable(huggingface_hub.constants.ENDPOINT):
        yield not is_here and bool(huggingface_hub.constants.HF_HUB_OFFLINE)
        return
    places: tuple[Any, ...] = (huggingface_hub.constants, datasets.config)
    before = [place.HF_HUB_OFFLINE for place in places]
    try:
        for place in places:
            place.HF_HUB_OFFLINE = True
        yield True
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value


@cache
def _is_reachable(endpoint: str) -> bool:
    """Whether the hub can be reached; assumed behind a proxy."""
    if urllib.request.getproxies():
        return True
    parts = urlsplit(endpoint)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 443), timeout=_TIMEOUT_SECONDS):
            return True
    except OSError as error:
        logging.getLogger(__name__).warning("%s cannot be reached (%s): only cached data sets are available", endpoint, error)
        return False
