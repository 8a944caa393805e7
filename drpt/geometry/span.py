"""The subspace of the general gradients."""

import torch

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.hull import finite_products
from drpt.geometry.products import Coefficients, GeneralRows, Products

# Eigenvalues below this share of the largest are rounding, not directions: float32 products have seven digits.
_RANK_TOLERANCE = 1e-7


class Span(FeasibleSet):
    """``F = {Σ c_i g_i}``, with a ridge: minimise ``‖v − Σ c_i g_i‖² + λ σ Σ c_i²/ω_i``, ``σ = Σ ω_i ‖g_i‖²``.

    λ = 0 projects onto the subspace; as λ grows, u shrinks towards a multiple of ``Σ ω_i s_i g_i``. The ridge is relative to
    the gradients' size, so scaling them scales u, and weighted, so that an example given twice with half its weight changes
    nothing.
    Examples of weight 0 get none.

    Args:
        strength: λ, at least 0; checked in `drpt.geometry.spec`.
    """

    uses_target = False
    needs_products = True
    needs_gramian = True

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def project(self, rows: GeneralRows, products: Products | None, scores: object, num_blocks: int) -> Coefficients:
        """See `FeasibleSet.project`."""
        gramian, alignment = (t.double() for t in finite_products(products))
        # With c = √ω z the ridge is a multiple of the identity: one eigendecomposition serves every λ.
        root = rows.base_weights.double().sqrt()
        values, vectors = torch.linalg.eigh(root[:, None] * gramian * root)
        projected = torch.einsum("bji,bj->bi", vectors, root * alignment)
        size = torch.einsum("bii,i->b", gramian, rows.base_weights.double())[:, None]
        is_direction = values > _RANK_TOLERANCE * values.amax(dim=1, keepdim=True)
        ridged = torch.where(is_direction, values, torch.ones_like(values)) + self.strength * size
        z = torch.einsum("bij,bj->bi", vectors, torch.where(is_direction, projected / ridged, 0.0))
        weights = rows.base_weights
        return Coefficients(general=(root * z).to(weights), target=weights.new_zeros(num_blocks))
