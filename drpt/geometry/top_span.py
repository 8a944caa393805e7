"""The subspace of the general gradients' main directions."""

import math

import torch

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products
from drpt.geometry.span import principal_directions


class TopSpan(FeasibleSet):
    """``F = span of the r directions along which Σ ω_i g_i g_iᵀ is largest``, ``r = max(1, round((1−λ) n))``.

    λ = 0 is the whole subspace of the general gradients (`span` without a ridge). The ridge shrinks weak directions, the rank
    cuts them off. Directions that are rounding are left out, whatever r; among equally large ones the choice is arbitrary.

    Args:
        strength: λ = 1 − r/n in [0, 1], at 1 one direction is left; checked in `drpt.geometry.spec`.
    """

    uses_target = False
    needs_products = True
    needs_gramian = True

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def project(self, rows: GeneralRows, products: Products | None, scores: object, num_blocks: int) -> Coefficients:
        """See `FeasibleSet.project`."""
        directions = principal_directions(rows, products, num_blocks)
        n = rows.num_general
        rank = max(1, math.floor((1.0 - self.strength) * n + 0.5))
        is_kept = directions.is_real & (torch.arange(n, device=directions.values.device) >= n - rank)
        weights = rows.weights(num_blocks)
        share = torch.where(is_kept, directions.alignment / torch.where(is_kept, directions.values, 1.0), 0.0)
        return Coefficients(general=directions.combine(share).to(weights), target=weights.new_zeros(num_blocks))
