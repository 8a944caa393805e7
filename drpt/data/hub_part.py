"""A table of the Hugging Face hub as general or as target data, chosen apart; see `drpt.data.hub_table`."""

from collections.abc import Iterator, Mapping
from typing import Any

from drpt.data.example import Example
from drpt.data.hub_table import HubTable, load_table, read_table
from drpt.data.row_examples import RowExamples
from drpt.data.source import is_exact_match


class HubPart:
    """Examples of one table; it is loaded when first used.

    Args:
        table: Keys of `HubTable`.
        evaluation: Keys of `HubTable` that differ for target examples to measure with, such as ``{split: test}``; None, or
            another split of a local file, which has a single one, takes them out of ``table``.
        needs_response: Whether each example must have a response; if not, prompts alone are read, too.

    Raises:
        ValueError: A key is unknown or missing, the mapping names other fields than an example has, or a filter is none.
    """

    is_endless = False

    def __init__(
        self, *, table: Mapping[str, Any], evaluation: Mapping[str, Any] | None = None, needs_response: bool = True
    ) -> None:
        self.has_responses = needs_response
        self._tables: dict[str, HubTable] = {"table": read_table("table", table, needs_response)}
        if evaluation is not None:
            held_out = read_table("evaluation", {**table, **evaluation}, needs_response)
            if not held_out.lacks_split(self._tables["table"]):
                self._tables["evaluation"] = held_out
        self._loaded: dict[str, RowExamples] = {}

    @property
    def has_own_evaluation(self) -> bool:
        """Whether evaluation examples are of a table of their own."""
        return "evaluation" in self._tables

    def general(self, seed: int) -> Iterator[Example]:
        """See `Source.general`."""
        return self._examples("table", admits_text=True).stream(seed)

    def target(self, seed: int) -> Iterator[Example]:
        """See `Source.target`."""
        return self._examples("table").stream(seed)

    def evaluation(self, seed: int) -> Iterator[Example]:
        """See `Source.evaluation`."""
        return self._examples("evaluation" if "evaluation" in self._tables else "table").stream(seed)

    def is_correct(self, example: Example, response: str) -> bool:
        """See `is_exact_match`."""
        return is_exact_match(example, response)

    def stream_digest(self, stream: str) -> str | None:
        """See `drpt.data.file_source.FileSource.stream_digest`."""
        key = "evaluation" if stream == "evaluation" and "evaluation" in self._tables else "table"
        return self._examples(key, admits_text=stream == "general").digest

    def _examples(self, key: str, *, admits_text: bool = False) -> RowExamples:
        if key not in self._loaded:
            table, whole = self._tables[key], self._tables["table"]
            option = key if table.path != whole.path else "table"  # what the evaluation has of its own is another split
            self._loaded[key] = load_table(option, table, needs_response=self.has_responses, admits_text=admits_text)
        return self._loaded[key]
