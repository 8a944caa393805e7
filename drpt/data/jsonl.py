"""Local files with one conversation a line."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from drpt.data.example import Example, RecordError, example_from_record
from drpt.data.shuffled import shuffled
from drpt.data.source import is_exact_match

_SHOWN_FAULTS = 10


class JsonlSource:
    """General and target examples from chat-format JSON lines, ``messages`` or ``prompt`` and ``response``.

    All files are read and checked at once, so that nothing starts on bad data.

    Args:
        general: File of general examples.
        target: File of target examples.
        evaluation: File of target examples to measure with; None takes them out of ``target``.
        needs_response: Whether each example must have a response; if not, prompts alone are read, too.

    Raises:
        ValueError: A file is missing, empty or malformed; the message lists file, line, field and fix.
    """

    is_endless = False

    def __init__(self, *, general: str, target: str, evaluation: str | None, needs_response: bool) -> None:
        self.has_responses = needs_response
        read_record = partial(example_from_record, needs_response=needs_response)
        self._general = read_lines("data.source.general", general, read_record)
        self._target = read_lines("data.source.target", target, read_record)
        self._evaluation = self._target if evaluation is None else read_lines("data.source.evaluation", evaluation, read_record)

    def general(self, seed: int) -> Iterator[Example]:
        """See `Source.general`."""
        return shuffled(self._general, seed)

    def target(self, seed: int) -> Iterator[Example]:
        """See `Source.target`."""
        return shuffled(self._target, seed)

    def evaluation(self, seed: int) -> Iterator[Example]:
        """See `Source.evaluation`."""
        return shuffled(self._evaluation, seed)

    def is_correct(self, example: Example, response: str) -> bool:
        """See `is_exact_match`."""
        return is_exact_match(example, response)


def read_lines(option: str, name: str, read_record: Callable[[object, str], Example]) -> list[Example]:
    """Read a file with one JSON object a line.

    Args:
        option: Full name of the option that names the file, for messages.
        name: The file.
        read_record: Makes an example of an object and its place; raises `RecordError` where it cannot.

    Returns:
        At least one example, in the file's order.

    Raises:
        ValueError: The file is missing, empty or malformed; the message lists all faults with line and field.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        raise ValueError(f"{option}={name}: no such file. Give a file with one JSON object a line.")
    examples, faults = [], []
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            if not raw.strip():
                continue
            where = f"{name}:{number}"
            try:
                examples.append(read_record(json.loads(raw.decode("utf-8")), where))
            except json.JSONDecodeError as error:
                faults.append(f"{where}: column {error.colno}: not JSON ({error.msg}): write one complete object a line.")
            except UnicodeDecodeError as error:
                faults.append(f"{where}: byte {error.start + 1}: not UTF-8: convert the file to UTF-8.")
            except RecordError as error:
                faults.append(f"{where}: {error}")
    if faults:
        more = f"\n  … and {len(faults) - _SHOWN_FAULTS} more" if len(faults) > _SHOWN_FAULTS else ""
        shown = "".join(f"\n  {fault}" for fault in faults[:_SHOWN_FAULTS])
        raise ValueError(f"{option}={name}: {len(faults)} malformed line{'s'[: len(faults) != 1]}:{shown}{more}")
    if not examples:
        raise ValueError(f"{option}={name}: the file holds no example.")
    return examples
