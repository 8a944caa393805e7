"""Gradient surgery: conflicts with general examples are projected away one after another."""

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products, gramian_and_alignment
from drpt.geometry.subset import best_first


class PCGrad(FeasibleSet):
    """PCGrad (Yu et al. 2020) of the target gradient against the general examples.

    ``u ← u − min(<u, g_i>, 0)/‖g_i‖² g_i`` for one i after another, from ``u = v``. Where one projection undoes another, u may
    still go against some g_i: `dual_cone` is what all of them together ask for. The order is that of the score, best first;
    PCGrad itself uses `random`. Departure: PCGrad treats all tasks alike and adds up their projections; here the target alone
    is followed.
    """

    takes_score = True
    needs_products = True
    needs_gramian = True

    def project(
        self, rows: GeneralRows, products: Products | None, scores: Float[Tensor, "block general"] | None, num_blocks: int
    ) -> Coefficients:
        """See `FeasibleSet.project`."""
        assert scores is not None
        gramian, alignment = (t.double() for t in gramian_and_alignment(products))
        own_sq = torch.diagonal(gramian, dim1=1, dim2=2)
        general = torch.zeros_like(alignment)
        for place in best_first(scores, rows).T:
            here = place[:, None]
            row = gramian.gather(1, here[:, :, None].expand(-1, -1, rows.num_general)).squeeze(1)
            inner = alignment.gather(1, here) + (row * general).sum(dim=1, keepdim=True)
            size = own_sq.gather(1, here)
            is_conflict = (inner < 0) & (size > 0)
            general = general.scatter_add(1, here, torch.where(is_conflict, -inner / torch.where(size > 0, size, 1.0), 0.0))
        weights = rows.weights(num_blocks)
        return Coefficients(general=general.to(weights), target=weights.new_ones(num_blocks))
