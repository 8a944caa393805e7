"""The set that regularizes nothing: every direction is feasible."""

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows


class WholeSpace(FeasibleSet):
    """``F = R^d``: the projection of ``v`` is ``v``, target-only training."""

    uses_general = False

    def project(self, rows: GeneralRows, products: object, scores: object, num_blocks: int) -> Coefficients:
        """``c = 0``, ``a = 1``; see `FeasibleSet.project`."""
        weights = rows.weights(num_blocks)
        return Coefficients(general=weights.new_zeros(weights.shape), target=weights.new_ones(num_blocks))
