"""The interface of sources of examples, and the checks that they share."""

from collections.abc import Generator, Iterator
from typing import Protocol

from drpt.data.example import Example


class Source(Protocol):
    """Three streams of examples in an order that depends on a seed: finite for files, endless for generators.

    The evaluation and target streams may overlap; `drpt.data.pools` draws disjoint pools. Optional attributes are
    ``is_target_endless``, if it differs from ``is_endless``; ``has_own_evaluation``, whether evaluation examples have their own
    file, from which no target examples are taken; ``shortage``, a message on why the general stream ended; and
    ``stream_digest(name)``, which returns a checksum of a stream that is too large to be read for this purpose, else None.
    """

    is_endless: bool  # whether the general stream never ends
    has_responses: bool  # whether every example has a reference response

    def general(self, seed: int) -> Iterator[Example]:
        """Abundant, roughly aligned examples."""

    def target(self, seed: int) -> Iterator[Example]:
        """Scarce examples of the desired behaviour."""

    def evaluation(self, seed: int) -> Iterator[Example]:
        """Target examples for evaluation."""

    def is_correct(self, example: Example, response: str) -> bool:
        """Whether ``response`` solves the example."""


class NoResponsesError(ValueError):
    """Examples may lack the reference response that is needed."""


def require_responses(source: Source, *, name: str, why: str) -> None:
    """Refuse a source of prompts without responses.

    Args:
        source: Source of examples.
        name: Name of the data, for the message.
        why: Clause on why responses are needed, for the message, such as ``task=sft imitates responses``.

    Raises:
        NoResponsesError: The source's examples may lack responses.
    """
    if not source.has_responses:
        raise NoResponsesError(
            f"data={name}: its examples are prompts without reference responses, but {why}. Use data with responses (for files "
            "and tables of the hub: data.source.needs_response=true), or a task and a reward that need none."
        )


def is_exact_match(example: Example, response: str) -> bool:
    """Whether a response equals the reference up to surrounding white space: the verifier of sources without a better one."""
    return response.strip() == example.response.strip()


def advance(stream: Iterator[Example], was_taken: bool | None) -> Example:
    """Get the next example of a stream, and tell generators such as mixtures whether the last one was taken.

    Args:
        stream: Iterator of examples. A generator that delegates to an iterator (``yield from``) is told only if that iterator
            is a generator as well.
        was_taken: Whether the last example was taken; None before the first one.

    Returns:
        The next example.
    """
    inner: object = stream
    while inner is not None and hasattr(inner, "send"):
        inner = getattr(inner, "gi_yieldfrom", None)
    if inner is not None or not isinstance(stream, Generator):
        return next(stream)
    found: Example = stream.send(was_taken)
    return found
