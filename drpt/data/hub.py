"""Data sets of the Hugging Face hub, or local ones that `datasets` reads, with a mapping from columns to conversations."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from drpt.checks import did_you_mean
from drpt.data.columns import column_paths, columns_in, fill
from drpt.data.example import Example, RecordError, example_from_record
from drpt.data.row_filter import RowFilter
from drpt.data.shuffled import shuffled
from drpt.data.source import is_exact_match

_FIELDS = ({"messages"}, {"prompt", "response"})
_PROMPT = {"prompt"}  # enough where no response is needed


@dataclass(frozen=True, kw_only=True)
class HubTable:
    r"""One table: what `datasets.load_dataset` is asked for, and which columns make a conversation.

    ``columns`` maps ``messages``, or ``prompt`` and ``response``, each to a column's name or, for texts, to a template such
    as ``"{instruction}\n{input}"``. ``prompt.text`` is the field ``text`` of the struct column ``prompt``, everywhere.
    """

    path: str
    columns: Mapping[str, str]
    name: str | None = None
    split: str = "train"
    revision: str | None = None
    data_files: Any = None  # Any: whatever load_dataset takes: a file, a list, a mapping
    filter: Mapping[str, Any] | None = None  # keep rows whose columns meet these conditions, see RowFilter


class HubSource:
    """General and target examples from data sets; the tables are loaded when first used.

    Args:
        general: Keys of `HubTable`.
        target: Keys of `HubTable`.
        evaluation: Keys of `HubTable`; None takes evaluation examples out of ``target``.
        needs_response: Whether each example must have a response; if not, a table may map ``prompt`` alone, and a response
            may be empty.

    Raises:
        ValueError: A key is unknown or missing, the mapping names other fields than a conversation has, or a filter is none.
    """

    is_endless = False

    def __init__(
        self,
        *,
        general: Mapping[str, Any],
        target: Mapping[str, Any],
        evaluation: Mapping[str, Any] | None,
        needs_response: bool,
    ) -> None:
        self.has_responses = needs_response
        self._tables = {
            "general": _read_table("general", general, needs_response),
            "target": _read_table("target", target, needs_response),
            "evaluation": None if evaluation is None else _read_table("evaluation", evaluation, needs_response),
        }
        self._loaded: dict[str, list[Example]] = {}

    def general(self, seed: int) -> Iterator[Example]:
        """See `Source.general`."""
        return shuffled(self._examples("general"), seed)

    def target(self, seed: int) -> Iterator[Example]:
        """See `Source.target`."""
        return shuffled(self._examples("target"), seed)

    def evaluation(self, seed: int) -> Iterator[Example]:
        """See `Source.evaluation`."""
        return shuffled(self._examples("target" if self._tables["evaluation"] is None else "evaluation"), seed)

    def is_correct(self, example: Example, response: str) -> bool:
        """See `is_exact_match`."""
        return is_exact_match(example, response)

    def _examples(self, role: str) -> list[Example]:
        if role not in self._loaded:
            table = self._tables[role]
            assert table is not None
            self._loaded[role] = _load(role, table, self.has_responses)
        return self._loaded[role]


def _read_table(role: str, keys: Mapping[str, Any], needs_response: bool) -> HubTable:
    option = f"data.source.{role}"
    known = list(HubTable.__dataclass_fields__)
    for key in keys:
        if key not in known:
            raise ValueError(f"{option}.{key} is not known.{did_you_mean(key, known)} Choices: {', '.join(known)}.")
    missing = [key for key in ("path", "columns") if not keys.get(key)]
    if missing:
        raise ValueError(
            f"{option}.{missing[0]} is needed, e.g. {option}.path=tatsu-lab/alpaca "
            f"'{option}.columns={{prompt: instruction, response: output}}'."
        )
    columns = {field: template for field, template in keys["columns"].items() if template is not None}
    if set(columns) not in _FIELDS and (needs_response or set(columns) != _PROMPT):
        alone = " Prompts alone are admitted by data.source.needs_response=false." if set(columns) == _PROMPT else ""
        raise ValueError(
            f"{option}.columns maps {sorted(columns)}; it must map either messages, or both prompt and response. Set the "
            f"others to null: {option}.columns.messages=messages {option}.columns.prompt=null {option}.columns.response=null."
            f"{alone}"
        )
    RowFilter(f"{option}.filter", keys.get("filter"))  # refused now, not when the data are there
    return HubTable(**(dict(keys) | {"columns": columns}))


def _load(role: str, table: HubTable, needs_response: bool) -> list[Example]:
    import datasets

    option = f"data.source.{role}"
    try:
        rows = datasets.load_dataset(
            table.path, table.name, split=table.split, revision=table.revision, data_files=table.data_files
        )
    except Exception as error:  # datasets raises many kinds; all of them mean the same to the reader
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{option}: datasets.load_dataset({table.path!r}, {table.name!r}, split={table.split!r}) failed: {reason}"
        ) from error
    wanted = RowFilter(f"{option}.filter", table.filter)
    columns = column_paths(rows.features)
    named = [("columns", column) for template in table.columns.values() for column in columns_in(template)]
    for key, column in [*named, *(("filter", column) for column in wanted.columns)]:
        if column not in columns:
            raise ValueError(
                f"{option}.{key}: {table.path} has no column {column!r}.{did_you_mean(column, columns)} "
                f"Columns: {', '.join(columns)}."
            )
    examples = []
    for number, row in enumerate(rows):
        try:
            if wanted.admits(row):
                record = {field: fill(template, row) for field, template in table.columns.items()}
                examples.append(example_from_record(record, f"{table.path}:{number}", needs_response=needs_response))
        except RecordError as error:
            raise ValueError(f"{option}: {table.path}, split {table.split}, row {number}: {error}") from error
    if not examples:
        raise ValueError(f"{option}: {table.path}, split {table.split}: no row is left.")
    return examples
