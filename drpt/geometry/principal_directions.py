"""The general gradients' principal directions, from their inner products."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from drpt.geometry.products import GeneralRows, Products, gramian_and_alignment

# Directions with less than this share of the largest eigenvalue are left out. In float64 the component of v along one is wrong
# by the rounding error, 1e-16, over the share; float32 sums leave up to 4e-6 where there should be 0 (64 examples).
_RANK_TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5}


@dataclass(frozen=True, slots=True)
class PrincipalDirections:
    """Eigenvectors z of ``√ω K √ω``: directions ``Σ_i √ω_i z_i g_i`` at right angles, of squared length ``values``."""

    values: Float[Tensor, "block general"]  # ascending; the gradients' second moment along each, Σ ω_i <g_i, e>²
    vectors: Float[Tensor, "block general general"]  # [block, i, direction]
    alignment: Float[Tensor, "block general"]  # inner product of each direction with v
    root_weights: Float[Tensor, "block general"]  # √ω
    is_real: Bool[Tensor, "block general"]  # False where an eigenvalue is rounding error

    def combine(self, z: Float[Tensor, "block general"]) -> Float[Tensor, "block general"]:
        """Coefficients ``c_i`` of ``Σ_k z_k (direction k)``."""
        return self.root_weights * torch.einsum("bik,bk->bi", self.vectors, z)


def principal_directions(rows: GeneralRows, products: Products | None, num_blocks: int) -> PrincipalDirections:
    """Decompose ``√ω K √ω`` in float64.

    Args:
        rows: The general examples.
        products: Inner products with the gramian.
        num_blocks: Number of blocks, the rows of ``products``.

    Returns:
        As many directions as examples; some may have no length.
    """
    rough, rough_alignment = gramian_and_alignment(products)
    gramian, alignment = rough.double(), rough_alignment.double()
    root = rows.weights(num_blocks).double().sqrt()
    values, vectors = torch.linalg.eigh(root[:, :, None] * gramian * root[:, None, :])
    return PrincipalDirections(
        values=values,
        vectors=vectors,
        alignment=torch.einsum("bik,bi->bk", vectors, root * alignment),
        root_weights=root,
        is_real=values > _RANK_TOLERANCE.get(rough.dtype, _RANK_TOLERANCE[torch.float32]) * values.amax(dim=1, keepdim=True),
    )
