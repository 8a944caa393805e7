"""The mean of k examples closest to the target gradient, found greedily."""

import torch
from torch import Tensor

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products, gramian_and_alignment
from drpt.geometry.subset import best_first, num_kept, weighted_mean


class GreedyEuclidean(FeasibleSet):
    """``F = {Σ_{i∈S} ω_i g_i / Σ_{i∈S} ω_i : |S| = k}``, S grown one example at a time.

    Each step adds the example after which the mean is closest to v, ``min_i ‖mean_{S∪i} − v‖²``. A heuristic for the
    projection, which `exact_subset` finds by looking at every S. Ties go to the lower example id.

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
        """See `FeasibleSet.project`."""
        gramian, alignment = (t.double() for t in gramian_and_alignment(products))
        weights = rows.weights(num_blocks)
        omega = weights.double()
        is_kept = torch.zeros_like(omega, dtype=torch.bool)
        for _ in range(num_kept(self.strength, rows.num_general)):
            gain = -_distances(gramian, alignment, omega, is_kept)
            # Behind all others, and finite so that ranking is: what is in already.
            gain = torch.where(is_kept, gain.amin(dim=1, keepdim=True) - 1.0 - gain.abs().amax(dim=1, keepdim=True), gain)
            is_kept = is_kept.scatter(1, best_first(gain, rows)[:, :1], True)
        return weighted_mean(is_kept, weights)


def _distances(gramian: Tensor, alignment: Tensor, omega: Tensor, is_kept: Tensor) -> Tensor:
    """``‖mean_{S∪i} − v‖² − ‖v‖²`` for every i, S what is kept [block, general]."""
    inside = omega * is_kept
    with_inside = torch.einsum("bij,bj->bi", gramian, inside)  # <g_i, Σ_S ω_j g_j>
    inside_sq = (inside * with_inside).sum(dim=1, keepdim=True)
    inside_aligned = (inside * alignment).sum(dim=1, keepdim=True)
    total = inside.sum(dim=1, keepdim=True) + omega
    total = torch.where(total > 0, total, torch.ones_like(total))  # examples of weight 0 add nothing
    own_sq = torch.diagonal(gramian, dim1=1, dim2=2)
    mean_sq = (inside_sq + 2 * omega * with_inside + omega**2 * own_sq) / total**2
    return mean_sq - 2 * (inside_aligned + omega * alignment) / total
