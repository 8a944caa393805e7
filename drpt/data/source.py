"""What a source of examples can do."""

from collections.abc import Generator, Iterator
from typing import Protocol

from drpt.data.example import Example


class Source(Protocol):
    """Streams of examples in an order drawn by a seed: finite for files, endless for generators.

    The evaluation and target streams may overlap; whoever draws from them keeps them apart. A source may have more:
    ``is_target_endless``, where that differs from ``is_endless``; ``has_own_evaluation``, whether its evaluation examples are
    of a file of their own, and are not to be fewer so that the target has more; ``shortage``, why its general stream ended;
    ``stream_digest(name)``, a checksum of a stream that is too large to be read for it.
    """

    is_endless: bool  # whether the general stream never ends
    has_responses: bool  # whether every example has a reference response, to imitate or to compare answers with

    def general(self, seed: int) -> Iterator[Example]:
        """The abundant, roughly aligned examples."""

    def target(self, seed: int) -> Iterator[Example]:
        """The examples that say exactly what is wanted."""

    def evaluation(self, seed: int) -> Iterator[Example]:
        """Target examples to measure with."""

    def is_correct(self, example: Example, response: str) -> bool:
        """Whether ``response`` solves the example."""


class NoResponsesError(ValueError):
    """Examples need not have a reference response."""


def require_responses(source: Source, *, name: str, why: str) -> None:
    """Refuse a source of prompts alone where responses are needed.

    Args:
        source: Any.
        name: Of the data, for the message.
        why: Who needs the responses, for the message: ``task=sft imitates responses``.

    Raises:
        NoResponsesError: Its examples need not have responses.
    """
    if not source.has_responses:
        raise NoResponsesError(
            f"data={name}: its examples are prompts without reference responses, and {why}. Take data that have them (files "
            "and tables of the hub: data.source.needs_response=true), or a task and a reward that need none."
        )


def is_exact_match(example: Example, response: str) -> bool:
    """Whether the texts agree up to white space at the ends: the verifier of sources that have no better one."""
    return response.strip() == example.response.strip()


def advance(stream: Iterator[Example], was_taken: bool | None) -> Example:
    """The next example of a stream; a mixture is told whether its last one was taken.

    Args:
        stream: Iterator of examples. A generator that hands on another iterator (``yield from``) can be told nothing, unless
            that one can.
        was_taken: Whether the last example was taken; None before the first one.

    Returns:
        The example.
    """
    inner: object = stream
    while inner is not None and hasattr(inner, "send"):
        inner = getattr(inner, "gi_yieldfrom", None)
    if inner is not None or not isinstance(stream, Generator):
        return next(stream)
    found: Example = stream.send(was_taken)
    return found
