"""What a source of examples can do."""

from collections.abc import Iterator
from typing import Protocol

from drpt.data.example import Example


class Source(Protocol):
    """Streams of examples in an order drawn by a seed: finite for files, endless for generators.

    The evaluation and target streams may overlap; whoever draws from them keeps them apart.
    """

    is_endless: bool  # whether the general stream never ends

    def general(self, seed: int) -> Iterator[Example]:
        """The abundant, roughly aligned examples."""

    def target(self, seed: int) -> Iterator[Example]:
        """The examples that say exactly what is wanted."""

    def evaluation(self, seed: int) -> Iterator[Example]:
        """Target examples to measure with."""

    def is_correct(self, example: Example, response: str) -> bool:
        """Whether ``response`` solves the example."""


def is_exact_match(example: Example, response: str) -> bool:
    """Whether the texts agree up to white space at the ends: the verifier of sources that have no better one."""
    return response.strip() == example.response.strip()
