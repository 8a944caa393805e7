"""Local files of general and of target examples, the short form of choosing the two apart."""

from collections.abc import Iterator

from drpt.data.example import Example
from drpt.data.formats import AUTO, RowRules, check_format
from drpt.data.row_examples import file_examples
from drpt.data.source import is_exact_match


class JsonlSource:
    """General and target examples of local files in any of the known formats (`drpt.data.rows`, `drpt.data.formats`).

    Small files are read and checked at once, so that nothing starts on bad data.

    Args:
        general: File of general examples.
        target: File of target examples.
        evaluation: File of target examples to measure with; None takes them out of ``target``.
        needs_response: Whether each example must have a response; if not, prompts alone are read, too.
        format: A key of `drpt.data.formats.FORMATS`; ``auto`` recognises each file's by its columns.

    Raises:
        ValueError: A file is missing, empty or malformed; the message lists file, line, field and fix.
    """

    is_endless = False
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

    def general(self, seed: int) -> Iterator[Example]:
        """See `Source.general`."""
        return self._general.stream(seed)

    def target(self, seed: int) -> Iterator[Example]:
        """See `Source.target`."""
        return self._target.stream(seed)

    def evaluation(self, seed: int) -> Iterator[Example]:
        """See `Source.evaluation`."""
        return self._evaluation.stream(seed)

    def is_correct(self, example: Example, response: str) -> bool:
        """See `is_exact_match`."""
        return is_exact_match(example, response)

    def stream_digest(self, stream: str) -> str | None:
        """See `drpt.data.file_source.FileSource.stream_digest`."""
        files = {"general": self._general, "target": self._target, "evaluation": self._evaluation}
        return files[stream].digest
