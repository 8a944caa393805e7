"""GREATS with interactions: examples that repeat each other are worth less together."""

import torch

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products, gramian_and_alignment
from drpt.geometry.subset import best_first, num_kept, weighted_mean


class GreedyGreats(FeasibleSet):
    """The ω-mean of k examples, chosen one by one by how much a step of size η along them lowers the target loss.

    With S the examples chosen so far, example i gains ``η s_i − η² Σ_{j∈S} <g_i, g_j>``: the second-order utility of GREATS
    (Wang et al. 2024) with the identity for the Hessian, g standing for ``n ω_i g_i`` where weights differ. η → 0 ranks by
    alignment alone, as `subset` does. The interactions' unit is that of the loss: η is not relative. Ties go to the lower
    example id.

    Args:
        strength: λ = k/n in (0, 1], the share of the examples kept; `drpt.geometry.spec` checks it.
        step_size: η, positive, in the unit of a learning rate; checked there too.
    """

    uses_target = False
    needs_products = True
    needs_gramian = True

    def __init__(self, strength: float, step_size: float) -> None:
        self.strength = strength
        self.step_size = step_size

    def most_kept(self, num_general: int) -> int:
        """k; see `FeasibleSet.most_kept`."""
        return num_kept(self.strength, num_general)

    def project(self, rows: GeneralRows, products: Products | None, scores: object, num_blocks: int) -> Coefficients:
        """See `FeasibleSet.project`."""
        gramian, alignment = (t.double() for t in gramian_and_alignment(products))
        weights = rows.weights(num_blocks)
        scale = rows.num_general * weights.double()
        gain = scale * alignment  # η goes into the interactions: dividing by it changes no order
        interactions = self.step_size * scale[:, :, None] * gramian * scale[:, None, :]
        is_kept = torch.zeros_like(gain, dtype=torch.bool)
        for _ in range(num_kept(self.strength, rows.num_general)):
            last = gain.amin(dim=1, keepdim=True) - 1.0 - gain.abs().amax(dim=1, keepdim=True)
            best = best_first(torch.where(is_kept, last, gain), rows)[:, :1]
            is_kept = is_kept.scatter(1, best, True)
            gain = gain - interactions.gather(2, best[:, None].expand(-1, rows.num_general, -1)).squeeze(2)
        return weighted_mean(is_kept, weights)
