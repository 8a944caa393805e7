"""The common part of sources that read their streams from files or tables."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from drpt.data.example import Example
from drpt.data.row_examples import RowExamples
from drpt.data.source import is_exact_match


class RowSource(ABC):
    """A finite source whose streams are the shuffled rows of files or tables; see `drpt.data.source.Source`."""

    is_endless = False

    @abstractmethod
    def rows(self, stream: str) -> RowExamples:
        """The examples of a stream: ``general``, ``target`` or ``evaluation``."""

    def general(self, seed: int) -> Iterator[Example]:
        """See `drpt.data.source.Source.general`."""
        return self.rows("general").stream(seed)

    def target(self, seed: int) -> Iterator[Example]:
        """See `drpt.data.source.Source.target`."""
        return self.rows("target").stream(seed)

    def evaluation(self, seed: int) -> Iterator[Example]:
        """See `drpt.data.source.Source.evaluation`."""
        return self.rows("evaluation").stream(seed)

    def is_correct(self, example: Example, response: str) -> bool:
        """See `drpt.data.source.is_exact_match`."""
        return is_exact_match(example, response)

    def stream_digest(self, stream: str) -> str | None:
        """Checksum of the file or table of a stream; None if it is small, so that its examples can be read instead."""
        return self.rows(stream).digest
