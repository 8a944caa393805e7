"""The set of one point: the general examples' mean gradient."""

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows


class Mean(FeasibleSet):
    """``F = {Σ ω_i g_i}``: standard training on the general pool; the target is not looked at."""

    uses_target = False

    def project(self, rows: GeneralRows, products: object, scores: object, num_blocks: int) -> Coefficients:
        """``c = ω``, ``a = 0``; see `FeasibleSet.project`."""
        weights = rows.weights(num_blocks)
        return Coefficients(general=weights.clone(), target=weights.new_zeros(num_blocks))
