"""A source of examples from one local file, for general or for target data (``data/general=jsonl``, ``data/target=jsonl``)."""

from collections.abc import Iterator, Mapping
from typing import Any

from drpt.data.example import Example
from drpt.data.formats import AUTO, RowRules, check_format
from drpt.data.row_examples import RowExamples, file_examples
from drpt.data.row_source import RowSource


class FileSource(RowSource):
    """Examples of one file in any of the known formats; see `drpt.data.rows` and `drpt.data.formats`.

    Args:
        path: Path of the file.
        evaluation: Path of a file with evaluation examples; None = take them from ``path``.
        format: Format of the rows, a key of `drpt.data.formats.FORMATS`; ``auto`` recognises it by the columns.
        columns: Mapping from fields of an example to columns, such as
            ``{prompt: "{question}", response: "{answers.text[0]}"}``; None = the columns have the names of a known format.
        filter: Conditions on the rows to keep, see `drpt.data.row_filter.RowFilter`; None = keep all.
        needs_response: Whether each example must have a response; otherwise prompts without responses are accepted.

    Raises:
        ValueError: A file is missing, empty or malformed; the message lists file, line, field and fix.
    """

    def __init__(
        self,
        *,
        path: str,
        evaluation: str | None = None,
        format: str = AUTO,  # noqa: A002  # the option's name
        columns: Mapping[str, str | None] | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002  # the option's name
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

    def rows(self, stream: str) -> RowExamples:
        """See `drpt.data.row_source.RowSource.rows`."""
        return self._evaluation if stream == "evaluation" else self._examples

    def target(self, seed: int) -> Iterator[Example]:
        """See `drpt.data.source.Source.target`."""
        return map(_no_text, super().target(seed))

    def evaluation(self, seed: int) -> Iterator[Example]:
        """See `drpt.data.source.Source.evaluation`."""
        return map(_no_text, super().evaluation(seed))


def _no_text(example: Example) -> Example:
    if example.is_plain_text:
        raise ValueError(
            f"{example.source}: field 'text': plain texts are only for the general pool; a target has a prompt and a response."
        )
    return example
