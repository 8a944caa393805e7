"""The direction that all losses agree on most: the shortest vector in the hull of all gradients."""

import torch

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, GeneralRows, Products, gramian_and_alignment
from drpt.geometry.quadratic_program import QuadraticProgram
from drpt.geometry.solver import solve


class Mgda(FeasibleSet):
    """MGDA (Désidéri 2012; Sener and Koltun 2018) over the target and every general example.

    ``u = argmin ‖u‖²`` over ``{a v + Σ c_i g_i : a + Σ c = 1, a ≥ 0, c ≥ 0}``: a direction along which no example's loss
    rises to first order, the target being one voice among n + 1. It vanishes where the gradients contradict each other.
    """

    needs_products = True
    needs_gramian = True

    def project(self, rows: GeneralRows, products: Products | None, scores: object, num_blocks: int) -> Coefficients:
        """See `FeasibleSet.project`."""
        gramian, alignment = gramian_and_alignment(products)
        assert products is not None
        n = rows.num_general
        everyone = gramian.new_empty(num_blocks, n + 1, n + 1)
        everyone[:, :n, :n] = gramian
        everyone[:, :n, n] = everyone[:, n, :n] = alignment
        everyone[:, n, n] = products.target_sq
        no_pull = everyone.new_zeros(num_blocks, n + 1)
        solved = solve(QuadraticProgram(gramian=everyone, linear=no_pull, cap=torch.ones_like(no_pull[:1])))
        found = solved.coefficients.to(rows.base_weights)
        return Coefficients(general=found[:, :n].contiguous(), target=found[:, n].contiguous(), solved=solved)
