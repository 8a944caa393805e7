"""Directions that do not go against the general mean."""

import torch

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products, gramian_and_alignment
from drpt.geometry.residuals import lengths, linear_size
from drpt.geometry.rounding import without_rounding
from drpt.geometry.solution import Solution

_VANISHED = 1e-12  # relative to the square of its terms


class Halfspace(FeasibleSet):
    """``F = {u : <u, ḡ> ≥ 0}``, ``ḡ = Σ ω_i g_i``: A-GEM (Chaudhry et al. 2019).

    ``u = v`` where v is aligned with ḡ or ḡ vanishes, else ``v − (<v, ḡ>/‖ḡ‖²) ḡ``. Where the terms of ḡ cancel to 1e-6 of
    their lengths, the products do not tell its length, and it counts as vanished.
    """

    needs_products = True
    needs_gramian = True

    def project(self, rows: GeneralRows, products: Products | None, scores: object, num_blocks: int) -> Coefficients:
        """See `FeasibleSet.project`."""
        rough, alignment = gramian_and_alignment(products)
        gramian, weights = without_rounding(rough), rows.weights(num_blocks)
        omega = weights.double()
        inner = (alignment.double() * omega).sum(dim=1)
        mean_sq = torch.einsum("bij,bi,bj->b", gramian, omega, omega)
        length = lengths(gramian)
        terms = (omega * length).sum(dim=1)
        is_against = (inner < 0) & (mean_sq > _VANISHED * terms.square())
        share = torch.where(is_against, -inner / torch.where(is_against, mean_sq, 1.0), 0.0)
        # How far <u, ḡ> is below 0, or above it where u is not v, over the two lengths as far as the products tell.
        along = inner + share * mean_sq
        left = torch.where(is_against, along.abs(), -along).clamp(min=0) / torch.where(terms > 0, terms, 1.0)
        size = linear_size(alignment.double(), length)
        residual = left / torch.where(size > 0, size, 1.0)
        solved = Solution.of(share[:, None] * omega, residual, torch.zeros(num_blocks, dtype=torch.long, device=omega.device))
        return Coefficients(general=solved.coefficients.to(weights), target=weights.new_ones(num_blocks), solved=solved)
