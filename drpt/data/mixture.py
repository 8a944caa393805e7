"""A source of general examples that mixes several sources in fixed shares (``data/general=mixture``)."""

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from drpt.checks import check_interval
from drpt.data.build_source import build_source
from drpt.data.example import Example
from drpt.data.source import Source

_WEIGHT = "weight"
# Class of a part without ``_target_``, by a key that it contains.
_CLASSES = {
    "path": "drpt.data.file_source.FileSource",
    "families": "drpt.data.reasoning_families.ReasoningFamilies",
    "table": "drpt.data.hub_part.HubPart",
}
_PATIENCE = 5_000  # number of consecutive rejected examples after which an endless part is taken to have nothing new


class Mixture:
    """General examples of several sources in fixed shares, which hold for every prefix of the pool.

    Each example comes from the part that is furthest behind its share of the examples taken so far. The mixture ends when one
    part ends, so that the shares remain as given.

    Args:
        parts: Parts by a name of the user's choice. Each has a positive ``weight`` and the keys of a source: ``path`` (see
            `FileSource`), ``families`` (see `ReasoningFamilies`), ``table`` (see `HubPart`), or ``_target_`` and the keys of
            any other source, whose general stream is used.

    Raises:
        ValueError: There are fewer than two parts, a weight is not positive, or a part is not a source.
    """

    def __init__(self, *, parts: Mapping[str, Mapping[str, Any]]) -> None:
        if len(parts) < 2:
            raise ValueError(
                f"parts: a mixture needs at least two parts, but {len(parts)} {'is' if len(parts) == 1 else 'are'} given. Add "
                "parts such as +data.general.source.parts.mine='{weight: 1, path: pool.jsonl}' "
                "+data.general.source.parts.sums='{weight: 2, families: [chain_sum, gcd]}'."
            )
        self._parts: dict[str, Source] = {}
        self._weights: dict[str, float] = {}
        for name, given in parts.items():
            option = f"data.general.source.parts.{name}"
            if not isinstance(given, Mapping):
                raise ValueError(f"{option}={given!r} must be a mapping, such as {{weight: 1, path: pool.jsonl}}.")
            node = dict(given)
            weight = node.pop(_WEIGHT, None)
            if isinstance(weight, bool) or not isinstance(weight, int | float):
                raise ValueError(f"{option}.weight is required: a positive number, relative to the weights of other parts.")
            check_interval(f"{option}.weight", weight, low=0, is_low_included=False, meaning="the relative share of the part")
            if "_target_" not in node:
                known = [key for key in _CLASSES if key in node]
                if len(known) != 1:
                    raise ValueError(f"{option}: give exactly one of {', '.join(_CLASSES)}, or the class as _target_.")
                node["_target_"] = _CLASSES[known[0]]
            self._parts[name], self._weights[name] = build_source(node, option=option), weight
        self.has_responses = all(part.has_responses for part in self._parts.values())
        self.is_endless = all(part.is_endless for part in self._parts.values())
        self.shortage: str | None = None  # which part ended the mixture

    def general(self, seed: int) -> Iterator[Example]:
        """Mix the examples of all parts; the consumer may ``send`` whether the last example was taken."""
        return self._mixed(seed)

    def _mixed(self, seed: int) -> Generator[Example, bool | None, None]:
        streams = {name: part.general(seed) for name, part in self._parts.items()}
        total = sum(self._weights.values())
        taken = dict.fromkeys(streams, 0)
        self.shortage = None
        in_vain = 0
        while True:
            count = sum(taken.values()) + 1
            name = max(streams, key=lambda name: self._weights[name] / total * count - taken[name])
            example = next(streams[name], None)
            if example is None or in_vain > _PATIENCE:
                self.shortage = (
                    f"data.general.source.parts.{name} has only {taken[name]} examples, and the mixture ends with it to keep "
                    "the shares: lower this part's weight, or data.num_general."
                )
                return
            was_taken = (yield example) is not False
            taken[name] += was_taken
            in_vain = 0 if was_taken else in_vain + 1

    def target(self, seed: int) -> Iterator[Example]:
        """Refuse to provide target examples.

        Args:
            seed: Ignored.

        Raises:
            ValueError: Always.
        """
        raise ValueError(f"a mixture provides only general data: choose another data.target.source (seed {seed}).")

    evaluation = target

    def is_correct(self, example: Example, response: str) -> bool:
        """Whether any part finds the response correct; general examples are not verified in training."""
        return any(part.is_correct(example, response) for part in self._parts.values())

    def stream_digest(self, stream: str) -> str | None:
        """Checksum of the files of the parts.

        Args:
            stream: Name of the stream, ``general``.

        Returns:
            Checksum with names and weights of the parts; None if no part is a large file.
        """
        found = {name: getattr(part, "stream_digest", lambda _: None)(stream) for name, part in self._parts.items()}
        if not any(found.values()):
            return None
        return " ".join(f"{name}:{self._weights[name]}:{digest}" for name, digest in found.items())
