"""A source of examples from one data set of the Hugging Face hub, for general or for target data (``data/target=hub``)."""

from collections.abc import Mapping
from typing import Any

from drpt.data.hub_table import HubTable, load_table, read_table
from drpt.data.row_examples import RowExamples
from drpt.data.row_source import RowSource


class HubPart(RowSource):
    """Examples of one table, which is loaded when first used.

    Args:
        table: Keys of `HubTable`.
        evaluation: Keys of `HubTable` that differ for evaluation examples, such as ``{split: test}``. With None, or another
            split of a local file, which has only one, they are taken from ``table``.
        needs_response: Whether each example must have a response; otherwise prompts without responses are accepted.

    Raises:
        ValueError: A key is unknown or missing, or a mapping or filter is invalid.
    """

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
        """Whether evaluation examples have their own table."""
        return "evaluation" in self._tables

    def rows(self, stream: str) -> RowExamples:
        """See `drpt.data.row_source.RowSource.rows`."""
        key = "evaluation" if stream == "evaluation" and "evaluation" in self._tables else "table"
        if key not in self._loaded:
            table, whole = self._tables[key], self._tables["table"]
            option = key if table.path != whole.path else "table"  # usually only the split differs
            admits_text = stream == "general"
            self._loaded[key] = load_table(option, table, needs_response=self.has_responses, admits_text=admits_text)
        return self._loaded[key]
