"""Preferences: two responses to one prompt, one chosen and one rejected, from local files with one pair a line."""

from collections.abc import Iterator, Mapping, Sequence

from drpt.data.example import Example, Message, RecordError, read_text
from drpt.data.jsonl import read_lines
from drpt.data.shuffled import shuffled
from drpt.data.source import is_exact_match

REJECTED = "rejected"  # key of an example's payload


class NoPairsError(ValueError):
    """Examples have no rejected response."""


def pair_example(*, prompt: str, chosen: str, rejected: str, source: str) -> Example:
    """A conversation that ends with the chosen response; the rejected one is in its payload.

    Args:
        prompt: The user's turn.
        chosen: Response.
        rejected: Response.
        source: Where it came from.

    Returns:
        The example.
    """
    messages = (Message(role="user", content=prompt), Message(role="assistant", content=chosen))
    return Example(messages=messages, source=source, payload={REJECTED: rejected})


def prompt_text(example: Example) -> str:
    """The part of a prompt that a reward model reads: the turn that is answered. Empty where there is none."""
    return example.prompt[-1].content if example.prompt else ""


def require_pairs(examples: Sequence[Example]) -> None:
    """Refuse examples that are no preferences.

    Args:
        examples: Of a pool.

    Raises:
        NoPairsError: One has no rejected response.
    """
    for example in examples:
        if REJECTED not in example.payload:
            raise NoPairsError(
                f"data.source: {example.source} has no rejected response, and task=reward learns from pairs. Take "
                "data=preferences with files of your own, or data=on_topic_preferences."
            )


class PreferencePairs:
    """General and target pairs from JSON lines ``{"prompt": str, "chosen": str, "rejected": str}``; other keys are left alone.

    All files are read and checked at once, so that nothing starts on bad data. Pools hold a prompt once.

    Args:
        general: File of general pairs.
        target: File of target pairs.
        evaluation: File of target pairs to measure with; None takes them out of ``target``.

    Raises:
        ValueError: A file is missing, empty or malformed; the message lists file, line, field and fix.
    """

    is_endless = False
    has_responses = True

    def __init__(self, *, general: str, target: str, evaluation: str | None) -> None:
        self._general = read_lines("data.source.general", general, _pair_from_record)
        self._target = read_lines("data.source.target", target, _pair_from_record)
        given = None if evaluation is None else read_lines("data.source.evaluation", evaluation, _pair_from_record)
        self._evaluation = self._target if given is None else given

    def general(self, seed: int) -> Iterator[Example]:
        """See `drpt.data.source.Source.general`."""
        return shuffled(self._general, seed)

    def target(self, seed: int) -> Iterator[Example]:
        """See `drpt.data.source.Source.target`."""
        return shuffled(self._target, seed)

    def evaluation(self, seed: int) -> Iterator[Example]:
        """See `drpt.data.source.Source.evaluation`."""
        return shuffled(self._evaluation, seed)

    def is_correct(self, example: Example, response: str) -> bool:
        """See `drpt.data.source.is_exact_match`: the chosen response, word for word."""
        return is_exact_match(example, response)


def _pair_from_record(record: object, source: str) -> Example:
    if not isinstance(record, Mapping):
        raise RecordError('a JSON object was expected: write {"prompt": …, "chosen": …, "rejected": …}, one a line.')
    prompt, chosen, rejected = (read_text(record, field) for field in ("prompt", "chosen", "rejected"))
    if chosen == rejected:
        raise RecordError("fields 'chosen' and 'rejected' are the same text: a pair needs two responses to choose between.")
    return pair_example(prompt=prompt, chosen=chosen, rejected=rejected, source=source)
