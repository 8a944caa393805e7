"""Negative filtering: examples whose gradients point against the target are dropped."""

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows
from drpt.geometry.subset import best_first, weighted_mean


class Filter(FeasibleSet):
    """``F = {ω-mean of S : S ⊇ {i : score_i ≥ 0}, a share of the negatives dropped}``, the most negative first.

    This is what the paper does in RLHF and RLVR with λ = 0: every example with a negative alignment is dropped, and a block
    with nothing left gets a zero update. Departure: zero scores are kept. Ties go to the lower example id.

    Args:
        strength: λ in [0, 1], the share of the examples with negative scores that is kept; `drpt.geometry.spec` checks it.
    """

    takes_score = True
    uses_target = False

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def project(
        self,
        rows: GeneralRows,
        products: object,
        scores: Float[Tensor, "block general"] | None,
        num_blocks: int,
    ) -> Coefficients:
        """The ω-mean of the examples that are left; see `FeasibleSet.project`.

        Args:
            rows: The general examples.
            products: Ignored.
            scores: Scores with a sign [block, general].
            num_blocks: Number of blocks, the rows of ``scores``.

        Returns:
            ``c_i = ω_i / Σ_S ω`` for i in S, else 0, and ``a = 0``; all coefficients are zero where S is empty.

        Raises:
            NonFiniteProductsError: A score is NaN or infinite.
        """
        assert scores is not None
        assert scores.shape[0] == num_blocks
        place = torch.argsort(best_first(scores, rows), dim=1)  # of each example among the best
        num_negative = (scores < 0).sum(dim=1, keepdim=True)
        num_kept = scores.shape[1] - num_negative + torch.floor(self.strength * num_negative + 0.5)
        return weighted_mean(place < num_kept, rows.weights(num_blocks))
