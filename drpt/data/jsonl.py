"""A source of general and target examples from local files (``data=jsonl``)."""

from drpt.data.formats import AUTO, RowRules, check_format
from drpt.data.row_examples import RowExamples, file_examples
from drpt.data.row_source import RowSource


class JsonlSource(RowSource):
    """General and target examples of local files in any of the known formats (`drpt.data.rows`, `drpt.data.formats`).

    Small files are read and checked immediately, so that errors appear before a run starts.

    Args:
        general: Path of the file of general examples.
        target: Path of the file of target examples.
        evaluation: Path of the file of evaluation examples; None = take them from ``target``.
        needs_response: Whether each example must have a response; otherwise prompts without responses are accepted.
        format: Format of the rows, a key of `drpt.data.formats.FORMATS`; ``auto`` recognises it by the columns of each file.

    Raises:
        ValueError: A file is missing, empty or malformed; the message lists file, line, field and fix.
    """

    needs_pair = False

    def __init__(
        self,
        *,
        general: str,
        target: str,
        evaluation: str | None,
        needs_response: bool,
        format: str = AUTO,  # noqa: A002  # the option's name
    ) -> None:
        check_format("data.source.format", format)
        self.has_responses = needs_response
        self.has_own_evaluation = evaluation is not None
        is_pair = self.needs_pair
        own = RowRules(needs_response=needs_response, needs_pair=is_pair, format=format)
        with_texts = RowRules(
            needs_response=needs_response, needs_pair=is_pair, admits_text=needs_response and not is_pair, format=format
        )
        self._general = file_examples("data.source.general", general, with_texts)
        self._target = file_examples("data.source.target", target, own)
        self._evaluation = self._target if evaluation is None else file_examples("data.source.evaluation", evaluation, own)

    def rows(self, stream: str) -> RowExamples:
        """See `drpt.data.row_source.RowSource.rows`."""
        return {"general": self._general, "target": self._target, "evaluation": self._evaluation}[stream]
