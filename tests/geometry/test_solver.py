"""Programs are solved to their optimality conditions, and a failure is told."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drpt.capture.passes.report import BlockGroup, StepReport
from drpt.geometry.products import GeneralRows, Products
from drpt.geometry.quadratic_program import QuadraticProgram
from drpt.geometry.solver import solve
from tests.geometry.problems import (
    BLOCKS,
    SEEDS,
    Problem,
    assert_close,
    projection,
)


@given(seed=SEEDS, n=st.integers(1, 40), is_rank_deficient=st.booleans(), sums_to_one=st.booleans(), newton=st.booleans())
@settings(max_examples=60)
def test_programs_converge_to_kkt_points(seed, n, is_rank_deficient, sums_to_one, newton):
    """With the Newton steps, and by the gradient steps alone, which take over where those fail."""
    with pytest.MonkeyPatch.context() as patch:
        if not newton:
            patch.setattr("drpt.geometry.solver._NEWTON_STEPS", 0)
        check_kkt(seed, n, is_rank_deficient, sums_to_one)


def check_kkt(seed, n, is_rank_deficient, sums_to_one):
    generator = torch.Generator().manual_seed(seed)
    dim = max(1, n // 3) if is_rank_deficient else 2 * n
    factors = torch.randn(4, n, dim, generator=generator, dtype=torch.float64)
    factors *= 10.0 ** torch.randint(-4, 5, (4, 1, 1), generator=generator)
    linear = torch.einsum("bnd,bd->bn", factors, torch.randn(4, dim, generator=generator, dtype=torch.float64))
    cap = torch.full((1, n), min(1.0, 3.0 / n), dtype=torch.float64) if sums_to_one else None
    solved = solve(QuadraticProgram(gramian=factors @ factors.mT, linear=linear, cap=cap))
    assert solved.is_converged.all(), solved.residual
    c = solved.coefficients
    assert (c >= 0).all()
    if sums_to_one:
        assert_close(c.sum(dim=1), torch.ones(4, dtype=torch.float64))
        assert (c <= cap + 1e-12).all()


def test_failure_is_told(monkeypatch):
    """Stopped before its first step, the solver keeps its numbers and claims nothing; the step's metrics count it."""
    for limit in ("_NEWTON_STEPS", "_CHANGES"):
        monkeypatch.setattr(f"drpt.geometry.solver.{limit}", 0)
    problem = Problem(0)
    gramian = torch.einsum("bnd,bmd->bnm", problem.general, problem.general)
    alignment = torch.einsum("bnd,bd->bn", problem.general, problem.target)
    products = Products(alignment=alignment, target_sq=problem.target.square().sum(dim=1), gramian=gramian)
    rows = GeneralRows(base_weights=problem.weights, example_ids=problem.ids, step_index=0)
    found = projection("hull", strength=0.4).coefficients(rows, products, range(BLOCKS))
    assert not found.solved.is_converged.any()
    assert (found.solved.residual > 1e-3).all()
    names = tuple(str(block) for block in range(BLOCKS))
    report = StepReport((BlockGroup(tuple(range(BLOCKS)), found, products),), names)
    metrics = report.metrics(update_norm=1.0)
    assert metrics["train/solver_failures/sum"] == BLOCKS
    assert metrics["train/solver_residual/max"] == float(found.solved.residual.max())


def test_products_that_overflow_are_a_failed_solve():
    """Finite products whose squares are not: as a run would have them that no rule for values had refused."""
    huge = torch.full((1, 2, 2), 1e300, dtype=torch.float64) + torch.diag(torch.tensor([5e307, 1e307], dtype=torch.float64))
    for cap in (None, torch.ones(1, 2, dtype=torch.float64)):
        found = solve(QuadraticProgram(gramian=huge, linear=torch.tensor([[1e308, -1e308]], dtype=torch.float64), cap=cap))
        assert torch.isfinite(found.coefficients).all()
        assert found.is_converged.all() or found.residual.isinf().all()
