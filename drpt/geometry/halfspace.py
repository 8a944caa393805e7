"""Directions that do not go against the general mean."""

import torch

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products, finite_products


class Halfspace(FeasibleSet):
    """``F = {u : <u, ḡ> ≥ 0}``, ``ḡ = Σ ω_i g_i``: A-GEM (Chaudhry et al. 2019).

    ``u = v`` where v is aligned with ḡ or ḡ vanishes, else ``v − (<v, ḡ>/‖ḡ‖²) ḡ``.
    """

    needs_products = True
    needs_gramian = True

    def project(self, rows: GeneralRows, products: Products | None, scores: object, num_blocks: int) -> Coefficients:
        """See `FeasibleSet.project`."""
        gramian, alignment = finite_products(products)
        weights = rows.weights(num_blocks)
        inner = (alignment * weights.to(alignment)).sum(dim=1)
        mean_sq = torch.einsum("bij,bi,bj->b", gramian, weights.to(gramian), weights.to(gramian))
        is_against = (inner < 0) & (mean_sq > 0)
        share = torch.where(is_against, -inner / torch.where(mean_sq > 0, mean_sq, torch.ones_like(mean_sq)), 0.0)
        return Coefficients(general=(share[:, None] * weights.to(share)).to(weights), target=weights.new_ones(num_blocks))
