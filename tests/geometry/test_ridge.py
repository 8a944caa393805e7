"""Ridges and margins that overflow."""

import pytest
import torch

from drpt.geometry.cone import Cone
from drpt.geometry.dual_cone import DualCone
from drpt.geometry.products import GeneralRows, Products
from drpt.geometry.span import Span
from tests.geometry.problems import (
    BLOCKS,
    Problem,
)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("ours", [Cone, Span, DualCone])
def test_a_ridge_or_margin_that_overflows_is_a_failed_solve(ours, dtype):
    """λ = 1e300, which `RegularizerSpec` refuses: a run once finished with zero updates and a residual of NaN."""
    problem = Problem(0)
    products = Products(
        alignment=torch.einsum("bnd,bd->bn", problem.general, problem.target).to(dtype),
        target_sq=problem.target.square().sum(dim=1).to(dtype),
        gramian=torch.einsum("bnd,bmd->bnm", 1e10 * problem.general, 1e10 * problem.general).to(dtype),
    )
    rows = GeneralRows(base_weights=problem.weights, example_ids=problem.ids, step_index=0)
    found = ours(strength=1e300).project(rows, products, None, BLOCKS)
    solved = found.solved
    assert torch.isfinite(found.general).all() or not solved.is_converged.any()
    assert not solved.residual.isnan().any()
    assert torch.equal(solved.is_converged, solved.residual <= 1e-6)
    if ours is not DualCone and dtype is torch.float32:  # the ridge is infinite
        assert not solved.is_converged.any()
        assert solved.residual.isinf().all()
