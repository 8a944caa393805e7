"""Feasible sets from outside the package, which choose nothing."""

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients


class Nothing(FeasibleSet):
    """Every coefficient is 0: every update vanishes."""

    def project(self, rows, products, scores, num_blocks):
        weights = rows.weights(num_blocks)
        return Coefficients(general=weights.new_zeros(weights.shape), target=weights.new_zeros(num_blocks))


class NothingAtFirst(Nothing):
    """The first steps choose nothing, later ones the mean of all."""

    def project(self, rows, products, scores, num_blocks):
        weights = rows.weights(num_blocks)
        found = weights if rows.step_index >= 2 else weights.new_zeros(weights.shape)
        return Coefficients(general=found.clone(), target=weights.new_zeros(num_blocks))
