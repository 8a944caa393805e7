"""Examples weighted by how well they are aligned, those against the target left out."""

import torch

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products


class L2RW(FeasibleSet):
    """``u = Σ c_i g_i``, ``c_i = max(ω_i s_i, 0) / Σ_j max(ω_j s_j, 0)``: Learning to Reweight (Ren et al. 2018).

    The weights are those of the paper's single meta-gradient step from zero. Where no example is aligned, u = 0.
    """

    uses_target = False
    needs_products = True

    def project(self, rows: GeneralRows, products: Products | None, scores: object, num_blocks: int) -> Coefficients:
        """See `FeasibleSet.project`."""
        assert products is not None
        weights = rows.weights(num_blocks)
        # Scaled to size 1 before they are summed: alignments may be smaller than float32 can square.
        largest = products.alignment.abs().amax(dim=1, keepdim=True).double()
        share = weights * (products.alignment.double() / torch.where(largest > 0, largest, 1.0)).clamp(min=0)
        total = share.sum(dim=1, keepdim=True)
        general = torch.where(total > 0, share / torch.where(total > 0, total, 1.0), 0.0)
        return Coefficients(general=general.to(weights), target=weights.new_zeros(num_blocks))
