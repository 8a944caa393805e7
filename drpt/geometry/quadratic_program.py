"""Small convex quadratic programs, many at once: what projections onto cones and hulls come down to.

Axes: ``block`` = programs, ``general`` = coordinates.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from drpt.geometry.capped_simplex import project_onto_capped_simplex
from drpt.geometry.residuals import VANISHED, cone_residual, hull_residual, lengths, linear_size


@dataclass(frozen=True, slots=True, kw_only=True)
class QuadraticProgram:
    """Minimise ``½ cᵀ K c − sᵀ c`` subject to ``c ≥ 0`` (a cone), or to ``0 ≤ c ≤ cap`` and ``Σ c = 1`` (a hull).

    With K the gramian of the general gradients and s their alignment with v, the minimiser gives the point of the cone or hull
    that is closest to v. K is positive semi-definite and may be singular: repeated or vanishing gradients are everyday input.
    """

    gramian: Float[Tensor, "block general general"]  # K
    linear: Float[Tensor, "block general"]  # s
    cap: Float[Tensor, "#block general"] | None  # upper bounds whose sum is at least 1; None for a cone

    @property
    def sums_to_one(self) -> bool:
        """Whether the coefficients must sum to 1."""
        return self.cap is not None

    @property
    def own_sq(self) -> Float[Tensor, "block general"]:
        """``‖g_i‖²``, the gramian's diagonal, 0 where rounding made it negative."""
        return torch.diagonal(self.gramian, dim1=1, dim2=2).clamp(min=0)

    @property
    def size(self) -> Float[Tensor, " block"]:
        """The length of v as far as the products tell, but no less than 1e-12 of the longest gradient."""
        length = lengths(self.gramian)
        return torch.maximum(linear_size(self.linear, length), VANISHED * length.amax(dim=1))

    def take(self, blocks: Int[Tensor, " some"]) -> "QuadraticProgram":
        """Some of the programs, by their indices; every program must have a cap of its own."""
        return QuadraticProgram(
            gramian=self.gramian[blocks],
            linear=self.linear[blocks],
            cap=None if self.cap is None else self.cap[blocks],
        )

    def slope(self, c: Float[Tensor, "block general"]) -> Float[Tensor, "block general"]:
        """``K c − s``, the gradient of the objective."""
        return torch.bmm(self.gramian, c[:, :, None]).squeeze(2) - self.linear

    def objective(self, c: Float[Tensor, "block general"]) -> Float[Tensor, " block"]:
        """``½ cᵀ K c − sᵀ c``."""
        return (c * (torch.bmm(self.gramian, c[:, :, None]).squeeze(2) / 2 - self.linear)).sum(dim=1)

    def residual(self, c: Float[Tensor, "block general"]) -> Float[Tensor, " block"]:
        """How far c is from optimal, see `drpt.geometry.residuals`; for a cone, gradients of length 1 and s of size 1."""
        if self.cap is None:
            return cone_residual(self.gramian, self.linear, c)
        return hull_residual(self.gramian, self.linear, c, self.cap)

    def project(self, c: Float[Tensor, "block general"]) -> Float[Tensor, "block general"]:
        """The feasible coefficients closest to c."""
        return c.clamp(min=0) if self.cap is None else project_onto_capped_simplex(c, self.cap)

    def steepest_corner(self, c: Float[Tensor, "block general"]) -> Float[Tensor, "block general"]:
        """The corner of the feasible set that the slope at c points to most; of a cone, its tip."""
        if self.cap is None:
            return torch.zeros_like(c)
        order = torch.argsort(self.slope(c), dim=1)
        most = self.cap.gather(1, order)
        return torch.zeros_like(c).scatter(1, order, torch.minimum(most, (1 - most.cumsum(dim=1) + most).clamp(min=0)))
