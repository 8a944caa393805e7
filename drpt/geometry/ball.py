"""A ball around the general mean: linear mixing of the two losses."""

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows


class Ball(FeasibleSet):
    """``F = {u : ‖u − ḡ‖ ≤ (1−λ) ‖v − ḡ‖}``, ``ḡ = Σ ω_i g_i``.

    Its point closest to ``v`` is ``λ ḡ + (1−λ) v``, in closed form and without products: λ=0 is target-only training,
    λ=1 standard training. The set moves with ``v``, so the map is no projection onto a fixed set.

    Args:
        strength: λ in [0, 1], the weight of the general mean; `drpt.geometry.spec` checks it.
    """

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def project(self, rows: GeneralRows, products: object, scores: object, num_blocks: int) -> Coefficients:
        """``c = λ ω``, ``a = 1 − λ``; see `FeasibleSet.project`."""
        weights = rows.weights(num_blocks)
        return Coefficients(
            general=self.strength * weights,
            target=weights.new_full((num_blocks,), 1.0 - self.strength),
        )
