"""The subspace of the general gradients, with a ridge."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products, finite_products

# Eigenvalues below this share of the largest are rounding, not directions: float32 products have seven digits.
_RANK_TOLERANCE = 1e-7


class Span(FeasibleSet):
    """``F = {Σ c_i g_i}``, with a ridge: minimise ``‖v − Σ c_i g_i‖² + λ σ Σ c_i²/ω_i``, ``σ = Σ ω_i ‖g_i‖²``.

    λ = 0 projects onto the subspace; as λ grows, u shrinks towards a multiple of ``Σ ω_i s_i g_i``. The ridge is relative to
    the gradients' size, so scaling them scales u, and weighted, so that an example given twice with half its weight changes
    nothing. Examples of weight 0 get none.

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
        directions = principal_directions(rows, products, num_blocks)
        size = directions.values.sum(dim=1, keepdim=True)
        ridged = torch.where(directions.is_real, directions.values, 1.0) + self.strength * size
        weights = rows.weights(num_blocks)
        general = directions.combine(torch.where(directions.is_real, directions.alignment / ridged, 0.0))
        return Coefficients(general=general.to(weights), target=weights.new_zeros(num_blocks))


@dataclass(frozen=True, slots=True)
class PrincipalDirections:
    """Eigenvectors z of ``√ω K √ω``: directions ``Σ_i √ω_i z_i g_i`` at right angles, of squared length ``values``."""

    values: Float[Tensor, "block general"]  # ascending; the gradients' second moment along each, Σ ω_i <g_i, e>²
    vectors: Float[Tensor, "block general general"]  # [block, i, direction]
    alignment: Float[Tensor, "block general"]  # of each direction with v
    root_weights: Float[Tensor, "block general"]  # √ω
    is_real: Tensor  # [block, general], False where an eigenvalue is rounding

    def combine(self, z: Float[Tensor, "block general"]) -> Float[Tensor, "block general"]:
        """Coefficients ``c_i`` of ``Σ_k z_k (direction k)``."""
        return self.root_weights * torch.einsum("bik,bk->bi", self.vectors, z)


def principal_directions(rows: GeneralRows, products: Products | None, num_blocks: int) -> PrincipalDirections:
    """The general gradients' principal directions, in float64.

    With ``c = √ω z`` a weighted ridge is a multiple of the identity, so that one decomposition serves every strength.

    Args:
        rows: The general examples.
        products: With a gramian.
        num_blocks: Blocks of ``products``.

    Returns:
        One direction an example, those of no length among them.
    """
    gramian, alignment = (t.double() for t in finite_products(products))
    root = rows.weights(num_blocks).double().sqrt()
    values, vectors = torch.linalg.eigh(root[:, :, None] * gramian * root[:, None, :])
    return PrincipalDirections(
        values=values,
        vectors=vectors,
        alignment=torch.einsum("bik,bi->bk", vectors, root * alignment),
        root_weights=root,
        is_real=values > _RANK_TOLERANCE * values.amax(dim=1, keepdim=True),
    )
