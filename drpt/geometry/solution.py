"""The answer of a solver: the coefficients it found, and how far they are from optimal."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drpt.geometry.residuals import ACCEPTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Coefficients with their residual and status; whoever uses them looks at ``is_converged``."""

    coefficients: Float[Tensor, "block general"]  # zero where nothing finite was found
    residual: Float[Tensor, " block"]  # see `drpt.geometry.residuals`; infinite where nothing finite was found
    num_steps: Int[Tensor, " block"]  # linear systems that were solved
    is_converged: Bool[Tensor, " block"]  # whether the residual is at most `drpt.geometry.residuals.ACCEPTED`

    @classmethod
    def of(
        cls,
        coefficients: Float[Tensor, "block general"],
        residual: Float[Tensor, " block"],
        num_steps: Int[Tensor, " block"],
    ) -> "Solution":
        """Make a solution in which nothing is NaN or infinite but the residual of a block that failed.

        Args:
            coefficients: The coefficients found [block, general].
            residual: The residual of each block [block]; NaN or infinite where the coefficients are of no use.
            num_steps: The number of linear systems solved for each block [block].

        Returns:
            The solution. A block whose coefficients are of no use has zeros, an infinite residual, and has not converged.
        """
        is_useless = ~(residual < torch.inf)  # true for NaN
        if bool(is_useless.any()):
            coefficients = torch.where(is_useless[:, None], 0.0, coefficients)
            residual = torch.where(is_useless, torch.inf, residual)
        return cls(coefficients=coefficients, residual=residual, num_steps=num_steps, is_converged=residual <= ACCEPTED)
