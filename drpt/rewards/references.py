"""References judged against themselves before anything is asked: a reference that no answer can equal teaches nothing."""

from collections.abc import Generator, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from drpt.data.example import Example
from drpt.data.source import Source, advance

UNREADABLE = {
    "error": "the run ends before a model is loaded, and says where the example stands",
    "drop": "examples whose reference the reward cannot read are left out and counted",
}
_SHOWN = 3


@runtime_checkable
class ChecksReferences(Protocol):
    """A term of a reward that says of references whether an answer can equal them."""

    unreadable: str  # a key of `UNREADABLE`

    def faults(self, examples: Sequence[Example]) -> list[str | None]:
        """Judge references against themselves.

        Args:
            examples: Examples with reference responses.

        Returns:
            What is wrong with each reference, as a sentence; None where nothing is.
        """


class UnreadableReferenceError(ValueError):
    """A reward cannot read the reference of an example."""


def require_readable(option: str, term: ChecksReferences, examples: Sequence[Example]) -> None:
    """Refuse examples whose reference no answer can equal.

    Args:
        option: Name of the term, as in the configuration.
        term: A term of a reward.
        examples: Examples with reference responses.

    Raises:
        UnreadableReferenceError: There are some; the message shows the first ones with file and line.
    """
    found = [(example, fault) for example, fault in zip(examples, term.faults(examples), strict=True) if fault is not None]
    if found:
        shown = " ".join(f"{example.source}: {fault}" for example, fault in found[:_SHOWN])
        more = f" And {len(found) - _SHOWN} more." if len(found) > _SHOWN else ""
        raise UnreadableReferenceError(
            f"{option} cannot judge answers to {len(found)} of {len(examples)} examples. {shown}{more} Mend the references "
            f"(a word as an answer is written \\text{{…}} or \\boxed{{…}}), leave the examples out with {option}."
            "unreadable=drop, or take reward=exact."
        )


class ReadableSource:
    """A source without the examples whose reference some terms cannot read.

    Args:
        source: Where the examples come from; all but its streams is passed on.
        terms: Terms of a reward.
    """

    def __init__(self, source: Source, terms: Sequence[ChecksReferences]) -> None:
        self._source = source
        self._terms = list(terms)
        self._left_out: dict[str, set[tuple[Any, ...]]] = {}  # by pool: source and turns

    @property
    def counts(self) -> dict[str, int]:
        """Examples left out, by pool; one that a pool meets again counts once."""
        return {f"{pool}_unreadable": len(examples) for pool, examples in self._left_out.items()}

    def __getattr__(self, name: str) -> Any:  # Any: whatever the source has
        return getattr(self._source, name)

    def general(self, seed: int) -> Iterator[Example]:
        """See `Source.general`."""
        return self._readable("general", self._source.general(seed))

    def target(self, seed: int) -> Iterator[Example]:
        """See `Source.target`."""
        return self._readable("target", self._source.target(seed))

    def evaluation(self, seed: int) -> Iterator[Example]:
        """See `Source.evaluation`."""
        return self._readable("evaluation", self._source.evaluation(seed))

    def _readable(self, pool: str, stream: Iterator[Example]) -> Generator[Example, bool | None, None]:
        verdict: bool | None = None
        while True:
            try:
                example = advance(stream, verdict)
            except StopIteration:
                return
            if any(fault is not None for term in self._terms for fault in term.faults([example])):
                self._left_out.setdefault(pool, set()).add((example.source, *example.messages))
                verdict = False
            else:
                verdict = yield example
