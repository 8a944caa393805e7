"""A local file as general or as target data: one of the sources of which general and target are chosen apart."""

from collections.abc import Iterator, Mapping
from typing import Any

from drpt.data.example import Example
from drpt.data.formats import AUTO, RowRules, check_format
from drpt.data.row_examples import file_examples
from drpt.data.source import is_exact_match


class FileSource:
    """Examples of one file in any of the known formats, see `drpt.data.rows` and `drpt.data.formats`.

    Args:
        path: The file.
        evaluation: File of target examples to measure with; None takes them out of ``path``.
        format: A key of `drpt.data.formats.FORMATS`; ``auto`` recognises it by the columns.
        columns: Which columns make an example, such as ``{prompt: "{question}", response: "{answers.text[0]}"}``; None where
            their names are those of a known format.
        filter: Which rows to keep, see `drpt.data.row_filter.RowFilter`; None keeps all.
        needs_response: Whether each example must have a response; if not, prompts alone are read, too.

    Raises:
        ValueError: A file is missing, empty or malformed; the message lists file, line, field and fix.
    """

    is_endless = False

    def __init__(
        self,
        *,
        path: str,
        evaluation: str | None = None,
        format: str = AUTO,  # noqa: A002  # the option's name
        columns: Mapping[str, str | None] | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002  # likewise
        needs_response: bool = True,
    ) -> None:
        check_format("format", format)
        self.has_responses = needs_response
        self.has_own_evaluation = evaluation is not None
        is_pair = format == "pair"
        rules = RowRules(
            needs_response=needs_response, needs_pair=is_pair, admits_text=needs_response and not is_pair, format=format
        )
        self._examples = file_examples("path", path, rules, columns=columns, conditions=filter)
        self._evaluation = self._examples
        if evaluation is not None:
            self._evaluation = file_examples("evaluation", evaluation, rules, columns=columns, conditions=filter)

    def general(self, seed: int) -> Iterator[Example]:
        """See `drpt.data.source.Source.general`."""
        return self._examples.stream(seed)

    def target(self, seed: int) -> Iterator[Example]:
        """See `drpt.data.source.Source.target`."""
        return map(_no_text, self._examples.stream(seed))

    def evaluation(self, seed: int) -> Iterator[Example]:
        """See `drpt.data.source.Source.evaluation`."""
        return map(_no_text, self._evaluation.stream(seed))

    def is_correct(self, example: Example, response: str) -> bool:
        """See `drpt.data.source.is_exact_match`."""
        return is_exact_match(example, response)

    def stream_digest(self, stream: str) -> str | None:
        """A checksum of a stream's file, where that is too large to read all of its examples.

        Args:
            stream: ``general``, ``target`` or ``evaluation``.

        Returns:
            None of a small file.
        """
        return (self._evaluation if stream == "evaluation" else self._examples).digest


def _no_text(example: Example) -> Example:
    if example.is_plain_text:
        raise ValueError(
            f"{example.source}: field 'text': plain texts are for the general pool: a target has a prompt and a response."
        )
    return example
