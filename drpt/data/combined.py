"""Combines general examples of one source with target examples of another (``data/general=…``, ``data/target=…``)."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from drpt.data.build_source import build_source
from drpt.data.example import Example
from drpt.data.file_source import FileSource
from drpt.data.source import Source

_KEYS = ("path", "table", "evaluation")  # keys of file and table sources, whose errors may appear when streams are read


class CombinedSource:
    """The general stream of one source, and the target and evaluation streams of another.

    Args:
        general: Node of the source of general examples; None = ``source``.
        target: Node of the source of target examples; None = ``source``.
        source: Node of a source with both, used for the one that is None.

    Raises:
        ValueError: A node does not name a source, a key is unknown, or a value breaks its rule.
    """

    def __init__(
        self, *, general: Mapping[str, Any] | None, target: Mapping[str, Any] | None, source: Mapping[str, Any]
    ) -> None:
        whole = build_source(source) if general is None or target is None else None
        self._general = _built(general, "data.general.source", whole)
        self._target = _built(target, "data.target.source", whole)
        if isinstance(self._target, FileSource):  # refuse plain texts as targets now, not when they are drawn
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
        """Whether evaluation examples have their own file or table."""
        return bool(getattr(self._target, "has_own_evaluation", False))

    @property
    def shortage(self) -> str | None:
        """Why the general stream ended, if its source states it."""
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
        """Verify a response with the target's source, since only held-out target examples are verified."""
        return self._target.is_correct(example, response)

    def stream_digest(self, stream: str) -> str | None:
        """See `drpt.data.row_source.RowSource.stream_digest`."""
        of_file = getattr(self._general if stream == "general" else self._target, "stream_digest", None)
        return None if of_file is None else of_file(stream)


def _named(option: str, stream: Callable[[int], Iterator[Example]], seed: int) -> Iterator[Example]:
    """Open a stream; errors that begin with a key of the source get the full name of the option."""
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
