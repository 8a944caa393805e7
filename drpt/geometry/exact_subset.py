"""The mean of k examples closest to the target gradient, by looking at every subset."""

from functools import lru_cache
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.geometry.catalogue import MAX_EXACT_SUBSET
from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products, gramian_and_alignment
from drpt.geometry.subset import num_kept, weighted_mean

_CHUNK_ELEMENTS = 2**22  # distances held at once: 32 MiB


class ExactSubset(FeasibleSet):
    """``F = {Σ_{i∈S} ω_i g_i / Σ_{i∈S} ω_i : |S| = k}``, with S the subset whose mean is closest to v: the exact projection.

    All n-choose-k subsets are compared (12,870 at n = 16, k = 8), so n is at most 16. Among equally close ones, the
    subset whose example ids come first is taken.

    Args:
        strength: λ = k/n in (0, 1], the share of the examples kept; `drpt.geometry.spec` checks it.
    """

    uses_target = False
    needs_products = True
    needs_gramian = True

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def most_kept(self, num_general: int) -> int:
        """k; see `FeasibleSet.most_kept`."""
        return num_kept(self.strength, num_general)

    def project(self, rows: GeneralRows, products: Products | None, scores: object, num_blocks: int) -> Coefficients:
        """The mean of k examples that is closest to v; see `FeasibleSet.project`.

        Args:
            rows: The general examples.
            products: Inner products with the gramian.
            scores: Ignored.
            num_blocks: Number of blocks, the rows of ``products``.

        Returns:
            ``c_i = ω_i / Σ_S ω`` for i in S, else 0; ``a = 0``.

        Raises:
            ValueError: There are too many general examples to enumerate their subsets.
        """
        n = rows.num_general
        if n > MAX_EXACT_SUBSET:
            raise ValueError(f"the set 'exact_subset' enumerates subsets of at most {MAX_EXACT_SUBSET} examples, not of {n}.")
        gramian, alignment = (t.double() for t in gramian_and_alignment(products))
        weights = rows.weights(num_blocks)
        by_id = torch.argsort(rows.example_ids, stable=True)
        masks = _subsets(n, num_kept(self.strength, n)).to(gramian.device)
        if rows.base_weights.ndim == 1:
            best = _closest(gramian[:, by_id][:, :, by_id], alignment[:, by_id], weights[:1, by_id].double(), masks)
        else:  # weights differ from block to block, and the subsets' means with them
            best = torch.cat(
                [
                    _closest(
                        gramian[b : b + 1, by_id][:, :, by_id],
                        alignment[b : b + 1, by_id],
                        weights[b : b + 1, by_id].double(),
                        masks,
                    )
                    for b in range(num_blocks)
                ]
            )
        place = torch.argsort(by_id)
        return weighted_mean(masks[best][:, place] > 0, weights)


def _closest(gramian: Tensor, alignment: Tensor, omega: Tensor, masks: Tensor) -> Tensor:
    """Index of the subset with the smallest ``‖mean_S − v‖²`` [block]; ``omega`` is [1, general]."""
    shares = masks * omega
    total = shares.sum(dim=1, keepdim=True)
    shares = shares / torch.where(total > 0, total, torch.ones_like(total))
    squares = (shares[:, :, None] * shares[:, None, :]).flatten(1)
    chunk = max(1, _CHUNK_ELEMENTS // len(masks))
    found = []
    for start in range(0, len(gramian), chunk):
        part = slice(start, start + chunk)
        distances = gramian[part].flatten(1) @ squares.T - 2 * alignment[part] @ shares.T
        found.append(distances.argmin(dim=1))
    return torch.cat(found)


@lru_cache(maxsize=8)
def _subsets(n: int, k: int) -> Float[Tensor, "subset general"]:
    """All subsets of size k as rows of zeros and ones, in lexicographic order."""
    chosen = torch.tensor(list(combinations(range(n), k)))
    return torch.zeros(len(chosen), n, dtype=torch.float64).scatter(1, chosen, 1.0)
