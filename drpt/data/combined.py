"""General and target examples of two sources, each chosen by itself."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from drpt.data.build_source import build_source
from drpt.data.example import Example
from drpt.data.file_source import FileSource
from drpt.data.source import Source

_KEYS = ("path", "table", "evaluation")  # of the sources of files and tables, which read when they are asked


class CombinedSource:
    """The general stream of one source, and the target and evaluation streams of another.

    Args:
        general: Node of the source of general examples; None: ``source``.
        target: Node of the source of target examples; None: ``source``.
        source: Node of a source that has both, for what is not chosen by itself.

    Raises:
        ValueError: A node leads to no source, a key is not one of its, or a value breaks its rules.
    """

    def __init__(
        self, *, general: Mapping[str, Any] | None, target: Mapping[str, Any] | None, source: Mapping[str, Any]
    ) -> None:
        whole = build_source(source) if general is None or target is None else None
        self._general = _built(general, "data.general.source", whole)
        self._target = _built(target, "data.target.source", whole)
        if isinstance(self._target, FileSource):  # plain texts are no targets: said now, not when they are drawn
            for stream in (self._target.target, self._target.evaluation):
                try:
                    next(islice(stream(0), 1), None)
                except ValueError as error:
                    raise ValueError(f"data.target.source: {error}") from error
        self.has_responses = self._general.has_responses and self._target.has_responses

    @property
    def is_endless(self) -> bool:
        """Whether the general stream never ends."""
        return self._general.is_endless

    @property
    def is_target_endless(self) -> bool:
        """Whether the target stream never ends."""
        return self._target.is_endless

    @property
    def has_own_evaluation(self) -> bool:
        """Whether evaluation examples are of a file or table of their own."""
        return bool(getattr(self._target, "has_own_evaluation", False))

    @property
    def shortage(self) -> str | None:
        """Why the general stream ended, where its source knows."""
        return getattr(self._general, "shortage", None)

    def general(self, seed: int) -> Iterator[Example]:
        """See `Source.general`."""
        return _named("data.general.source", self._general.general, seed)

    def target(self, seed: int) -> Iterator[Example]:
        """See `Source.target`."""
        return _named("data.target.source", self._target.target, seed)

    def evaluation(self, seed: int) -> Iterator[Example]:
        """See `Source.evaluation`."""
        return _named("data.target.source", self._target.evaluation, seed)

    def is_correct(self, example: Example, response: str) -> bool:
        """The verifier of the target's source: what is verified are held-out target examples."""
        return self._target.is_correct(example, response)

    def stream_digest(self, stream: str) -> str | None:
        """See `drpt.data.file_source.FileSource.stream_digest`."""
        of_file = getattr(self._general if stream == "general" else self._target, "stream_digest", None)
        return None if of_file is None else of_file(stream)


def _named(option: str, stream: Callable[[int], Iterator[Example]], seed: int) -> Iterator[Example]:
    """A stream whose faults are said with the full name of the option: a source knows its own keys alone."""
    try:
        return stream(seed)
    except ValueError as error:
        if str(error).startswith(tuple(f"{key}{sign}" for key in _KEYS for sign in "=.:")):
            raise ValueError(f"{option}.{error}") from error
        raise


def _built(node: Mapping[str, Any] | None, option: str, whole: Source | None) -> Source:
    if node is not None:
        return build_source(node, option=option)
    assert whole is not None
    return whole
