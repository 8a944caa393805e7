"""Scores, by which sets that choose among the general examples rank them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.geometry.entry import ScoreEntry
from drpt.geometry.products import GeneralRows, Products


class Score(ABC):
    """A number for each example and block; larger is better."""

    entry: ClassVar[ScoreEntry | None] = None  # what help and the rules for values say of a score from outside
    needs_products: bool = False

    @abstractmethod
    def __call__(self, rows: GeneralRows, products: Products | None, blocks: Sequence[int]) -> Float[Tensor, "block general"]:
        """Scores of the examples.

        Args:
            rows: The general examples.
            products: Inner products of these blocks; given where `needs_products` is true.
            blocks: Index of each block in the partition, in the order of the rows of ``products``.

        Returns:
            Scores [block, general].
        """


class AlignmentScore(Score):
    """``ω_i <g_i, v>``: how far the example's weighted gradient points along the target's (the paper's score)."""

    needs_products = True

    def __call__(self, rows: GeneralRows, products: Products | None, blocks: Sequence[int]) -> Float[Tensor, "block general"]:
        """See `Score.__call__`."""
        assert products is not None
        return rows.weights(len(blocks)).to(products.alignment) * products.alignment


class RandomScore(Score):
    """Uniform random numbers, drawn for every step and block; they belong to the example, not to its place in the batch.

    Args:
        seed: Seed of the run, which with the step's ``step_index`` and the block's index determines every number.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, rows: GeneralRows, products: Products | None, blocks: Sequence[int]) -> Float[Tensor, "block general"]:
        """See `Score.__call__`."""
        place = torch.argsort(torch.argsort(rows.example_ids, stable=True), stable=True)
        in_id_order = self._draw(rows.step_index, max(blocks) + 1, rows.num_general)[list(blocks)]
        return in_id_order.to(rows.base_weights.device)[:, place]

    def _draw(self, step_index: int, num_blocks: int, num_general: int) -> Float[Tensor, "block general"]:
        # Odd multipliers spread the indices over 63 bits; torch's generator hashes the seed further. A block's numbers do
        # not depend on how many blocks follow.
        mixed = (self.seed * 0x9E3779B97F4A7C15 + step_index * 0xC2B2AE3D27D4EB4F) % 2**63
        return torch.rand(num_blocks, num_general, generator=torch.Generator().manual_seed(mixed), dtype=torch.float64)
