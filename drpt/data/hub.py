"""A source of general and target examples from data sets of the Hugging Face hub, or local ones (``data=hub``)."""

from collections.abc import Mapping
from typing import Any

from drpt.data.hub_table import HubTable, load_table, read_table
from drpt.data.row_examples import RowExamples
from drpt.data.row_source import RowSource


class HubSource(RowSource):
    """General and target examples from data sets; the tables are loaded when first used.

    Args:
        general: Keys of `HubTable` for the general examples.
        target: Keys of `HubTable` for the target examples.
        evaluation: Keys of `HubTable` for the evaluation examples. With None, or another split of a local file, which has only
            one, they are taken from ``target``.
        needs_response: Whether each example must have a response; otherwise a table may map only ``prompt``, and responses may
            be empty.

    Raises:
        ValueError: A key is unknown or missing, or a mapping or filter is invalid.
    """

    def __init__(
        self,
        *,
        general: Mapping[str, Any],
        target: Mapping[str, Any],
        evaluation: Mapping[str, Any] | None,
        needs_response: bool,
    ) -> None:
        self.has_responses = needs_response
        self._tables: dict[str, HubTable] = {
            "general": read_table("data.source.general", general, needs_response),
            "target": read_table("data.source.target", target, needs_response),
        }
        if evaluation is not None:
            held_out = read_table("data.source.evaluation", evaluation, needs_response)
            if not held_out.lacks_split(self._tables["target"]):
                self._tables["evaluation"] = held_out
        self._loaded: dict[str, RowExamples] = {}

    @property
    def has_own_evaluation(self) -> bool:
        """Whether evaluation examples have their own table."""
        return "evaluation" in self._tables

    def rows(self, stream: str) -> RowExamples:
        """See `drpt.data.row_source.RowSource.rows`."""
        role = stream if stream in self._tables else "target"
        if role not in self._loaded:
            # By default the evaluation table is another split of the target's, so errors name the target's option.
            is_same = role == "evaluation" and self._tables[role].path == self._tables["target"].path
            self._loaded[role] = load_table(
                f"data.source.{'target' if is_same else role}",
                self._tables[role],
                needs_response=self.has_responses,
                admits_text=role == "general",
            )
        return self._loaded[role]
