"""The subspace of the general gradients, with a ridge."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products, finite_products

# Eigenvalues below this share of the largest are rounding, not directions.
_RANK_TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-6}


class Span(FeasibleSet):
    """``F = {Σ c_i g_i}``, with a ridge: minimise ``‖v − Σ c_i g_i‖² + λ σ Σ c_i²/ω_i``, ``σ = Σ ω_i ‖g_i‖²``.

    λ = 0 projects onto the subspace; as λ grows, u shrinks towards a multiple of ``Σ ω_i s_i g_i``. The ridge is relative to
    the gradients' size, so scaling them scales u, and weighted, so that an example given twice with half its weight changes
    nothing. With λ > 0, examples of weight 0 get none.

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
        weights = rows.weights(num_blocks)
        if self.strength == 0.0:
            general = _combination(products)
        else:
            directions = principal_directions(rows, products, num_blocks)
            values = directions.values.clamp(min=0)
            ridged = values + self.strength * values.sum(dim=1, keepdim=True)
            general = directions.combine(
                torch.where(ridged > 0, directions.alignment / torch.where(ridged > 0, ridged, 1.0), 0.0)
            )
        return Coefficients(general=general.to(weights), target=weights.new_zeros(num_blocks))


def _combination(products: Products | None) -> Tensor:
    """The shortest coefficients of the projection onto the subspace, every gradient being brought to length one first."""
    gramian, alignment = finite_products(products)
    tolerance = _tolerance(gramian)
    gramian, alignment = gramian.double(), alignment.double()
    own_sq = torch.diagonal(gramian, dim1=1, dim2=2)
    unit = torch.where(own_sq > 0, 1.0 / torch.where(own_sq > 0, own_sq, 1.0).sqrt(), 0.0)
    inverse = torch.linalg.pinv(unit[:, :, None] * gramian * unit[:, None, :], hermitian=True, rtol=tolerance)
    return unit * torch.einsum("bij,bj->bi", inverse, unit * alignment)


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
    rough, rough_alignment = finite_products(products)
    gramian, alignment = rough.double(), rough_alignment.double()
    root = rows.weights(num_blocks).double().sqrt()
    values, vectors = torch.linalg.eigh(root[:, :, None] * gramian * root[:, None, :])
    return PrincipalDirections(
        values=values,
        vectors=vectors,
        alignment=torch.einsum("bik,bi->bk", vectors, root * alignment),
        root_weights=root,
        is_real=values > _tolerance(rough) * values.amax(dim=1, keepdim=True),
    )


def _tolerance(products: Tensor) -> float:
    return _RANK_TOLERANCE.get(products.dtype, _RANK_TOLERANCE[torch.float32])
