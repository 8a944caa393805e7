"""Data sets of the Hugging Face hub, or local ones, with a mapping from columns to conversations."""

from collections.abc import Iterator, Mapping
from typing import Any

from drpt.data.example import Example
from drpt.data.hub_table import HubTable, load_table, read_table
from drpt.data.row_examples import RowExamples
from drpt.data.source import is_exact_match


class HubSource:
    """General and target examples from data sets; the tables are loaded when first used.

    Args:
        general: Keys of `HubTable`.
        target: Keys of `HubTable`.
        evaluation: Keys of `HubTable`; None, or another split of a local file, which has a single one, takes evaluation
            examples out of ``target``.
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
        """Whether evaluation examples are of a table of their own."""
        return "evaluation" in self._tables

    def general(self, seed: int) -> Iterator[Example]:
        """See `Source.general`."""
        return self._examples("general").stream(seed)

    def target(self, seed: int) -> Iterator[Example]:
        """See `Source.target`."""
        return self._examples("target").stream(seed)

    def evaluation(self, seed: int) -> Iterator[Example]:
        """See `Source.evaluation`."""
        return self._examples("evaluation").stream(seed)

    def is_correct(self, example: Example, response: str) -> bool:
        """See `is_exact_match`."""
        return is_exact_match(example, response)

    def stream_digest(self, stream: str) -> str | None:
        """See `drpt.data.file_source.FileSource.stream_digest`."""
        return self._examples(stream).digest

    def _examples(self, role: str) -> RowExamples:
        role = role if role in self._tables else "target"
        if role not in self._loaded:
            # What the evaluation has of its own by default is another split.
            is_same = role == "evaluation" and self._tables[role].path == self._tables["target"].path
            self._loaded[role] = load_table(
                f"data.source.{'target' if is_same else role}",
                self._tables[role],
                needs_response=self.has_responses,
                admits_text=role == "general",
            )
        return self._loaded[role]
