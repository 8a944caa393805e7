"""The subspace of the main directions of the general gradients."""

import math

import torch
from torch import Tensor

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.principal_directions import principal_directions
from drpt.geometry.products import Coefficients, GeneralRows, Products, gramian_and_alignment
from drpt.geometry.solution import Solution

_SOLVES = 3


class TopSpan(FeasibleSet):
    """``F = span of the r directions along which Σ ω_i g_i g_iᵀ is largest``, ``r = max(1, round((1−λ) n))``.

    λ = 0 is the whole subspace of the general gradients (`span` without a ridge). A ridge shrinks weak directions, a
    rank cuts them off. Directions that are rounding error are left out, whatever r; between equally large ones the choice is
    arbitrary.

    Args:
        strength: λ = 1 − r/n in [0, 1], the share of directions given up; at 1 one is left. `drpt.geometry.spec` checks it.
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
        gramian, alignment = (t.double() for t in gramian_and_alignment(products))
        root = directions.values.clamp(min=0).sqrt()

        def left_along(general: Tensor) -> Tensor:
            """The component of v − u along each direction."""
            rest = alignment - torch.bmm(gramian, general[:, :, None]).squeeze(2)
            inner = torch.einsum("bik,bi->bk", directions.vectors, directions.root_weights * rest)
            return torch.where(is_kept, inner / torch.where(is_kept, root, 1.0), 0.0)

        general = torch.zeros_like(alignment)
        for _ in range(_SOLVES):  # weak directions are only roughly at right angles to strong ones
            general = general + directions.combine(left_along(general) / torch.where(is_kept, root, 1.0))
        size = left_along(torch.zeros_like(alignment)).abs().amax(dim=1)
        residual = left_along(general).abs().amax(dim=1) / torch.where(size > 0, size, 1.0)
        num_steps = torch.full((num_blocks,), _SOLVES, dtype=torch.long, device=general.device)
        solved = Solution.of(general, residual, num_steps)
        weights = rows.weights(num_blocks)
        return Coefficients(general=solved.coefficients.to(weights), target=weights.new_zeros(num_blocks), solved=solved)
