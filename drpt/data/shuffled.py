"""Iterates over a finite list in an order that depends on a seed."""

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def shuffled(items: Sequence[Item], seed: int) -> Iterator[Item]:
    """Yield every item once; the same seed gives the same order on every machine."""
    order = list(range(len(items)))
    random.Random(seed).shuffle(order)
    return (items[i] for i in order)
