"""Checks reference responses before training: a reference that no answer can equal would make its example useless."""

from collections.abc import Generator, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from drpt.data.example import Example
from drpt.data.source import Source, advance

UNREADABLE = {
    "error": "the run ends before a model is loaded, with the place of the example in the data",
    "drop": "examples with an unreadable reference are left out and counted",
}
_SHOWN = 3


@runtime_checkable
class ChecksReferences(Protocol):
    """A reward term that can check whether any answer could equal a reference."""

    unreadable: str  # a key of `UNREADABLE`

    def faults(self, examples: Sequence[Example]) -> list[str | None]:
        """Check reference responses.

        Args:
            examples: Examples with reference responses.

        Returns:
            A sentence on what is wrong with each reference; None if nothing is.
        """


class UnreadableReferenceError(ValueError):
    """A reward cannot read the reference of an example."""


def require_readable(option: str, term: ChecksReferences, examples: Sequence[Example]) -> None:
    """Refuse examples whose reference no answer can equal.

    Args:
        option: Name of the term in the configuration.
        term: Reward term that checks references.
        examples: Examples with reference responses.

    Raises:
        UnreadableReferenceError: There are such examples; the message shows the first ones with file and line.
    """
    found = [(example, fault) for example, fault in zip(examples, term.faults(examples), strict=True) if fault is not None]
    if found:
        shown = " ".join(f"{example.source}: {fault}" for example, fault in found[:_SHOWN])
        more = f" And {len(found) - _SHOWN} more." if len(found) > _SHOWN else ""
        raise UnreadableReferenceError(
            f"{option} cannot judge answers to {len(found)} of {len(examples)} examples. {shown}{more} Correct the references "
            f"(write a word as an answer as \\text{{…}} or \\boxed{{…}}), leave the examples out with {option}."
            "unreadable=drop, or choose reward=exact."
        )


class ReadableSource:
    """A source without the examples whose references the reward cannot read.

    Args:
        source: Source of the examples; everything except its streams is passed on.
        terms: Reward terms that check references.
    """

    def __init__(self, source: Source, terms: Sequence[ChecksReferences]) -> None:
        self._source = source
        self._terms = list(terms)
        self._left_out: dict[str, set[tuple[Any, ...]]] = {}  # place and turns of the examples, by pool

    @property
    def counts(self) -> dict[str, int]:
        """Number of examples left out, by pool; repeated examples count once."""
        return {f"{pool}_unreadable": len(examples) for pool, examples in self._left_out.items()}

    def __getattr__(self, name: str) -> Any:  # Any: attributes of the source
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
