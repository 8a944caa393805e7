"""The means of k examples: top-k data selection within a step."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.finite import require_finite
from drpt.geometry.products import Coefficients, GeneralRows


def num_kept(strength: float, num_general: int) -> int:
    """``k = max(1, round(λ n))``, halves rounded up."""
    return max(1, math.floor(strength * num_general + 0.5))


class Subset(FeasibleSet):
    """``F = {Σ_{i∈S} ω_i g_i / Σ_{i∈S} ω_i : |S| = k}``, with S the k examples of highest score.

    With the score `alignment` over one block this is first-order GREATS (Wang et al. 2024); over the layers it is the
    paper's layer-wise subset. Departure from a projection, as in the paper: the k best alignments maximise
    ``<Σ_S ω_i g_i, v>``, not the distance to ``v``. Ties go to the lower example id.

    Args:
        strength: λ = k/n in (0, 1], the share of the examples kept; `drpt.geometry.spec` checks it.
    """

    takes_score = True
    uses_target = False

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def most_kept(self, num_general: int) -> int:
        """k; see `FeasibleSet.most_kept`."""
        return num_kept(self.strength, num_general)

    def project(
        self,
        rows: GeneralRows,
        products: object,
        scores: Float[Tensor, "block general"] | None,
        num_blocks: int,
    ) -> Coefficients:
        """The ω-mean of the k examples with the highest scores; see `FeasibleSet.project`.

        Args:
            rows: The general examples.
            products: Ignored.
            scores: Scores of the examples [block, general], larger is better.
            num_blocks: Number of blocks, the rows of ``scores``.

        Returns:
            ``c_i = ω_i / Σ_S ω`` for i in S, else 0; ``a = 0``. All zero when the chosen examples weigh nothing.

        Raises:
            NonFiniteProductsError: A score is NaN or infinite.
        """
        assert scores is not None
        assert scores.shape[0] == num_blocks
        chosen = best_first(scores, rows)[:, : num_kept(self.strength, rows.num_general)]
        is_kept = torch.zeros_like(scores, dtype=torch.bool).scatter(1, chosen, True)
        return weighted_mean(is_kept, rows.weights(num_blocks))


def best_first(scores: Float[Tensor, "block general"], rows: GeneralRows) -> Int[Tensor, "block general"]:
    """Sort the examples by their scores; ties go to the lower example id.

    Args:
        scores: Scores of the examples [block, general], larger is better.
        rows: The general examples, whose ids break ties.

    Returns:
        Indices of the examples [block, general], the best one first.

    Raises:
        NonFiniteProductsError: A score is NaN or infinite.
    """
    require_finite(scores, "scores")
    by_id = torch.argsort(rows.example_ids, stable=True)
    return by_id[torch.argsort(scores[:, by_id], dim=1, descending=True, stable=True)]


def weighted_mean(is_kept: Bool[Tensor, "block general"], weights: Float[Tensor, "block general"]) -> Coefficients:
    """``c_i = ω_i / Σ_S ω`` for i in S, else 0.

    Args:
        is_kept: Whether each example is in S [block, general].
        weights: Base weights ω [block, general].

    Returns:
        The coefficients, with ``a = 0``; all are zero where S is empty or weighs nothing.
    """
    general = is_kept * weights
    total = general.sum(dim=1, keepdim=True)
    return Coefficients(
        general=torch.where(total > 0, general / torch.where(total > 0, total, torch.ones_like(total)), general),
        target=weights.new_zeros(len(is_kept)),
    )
