"""Newton's steps recognise most solutions."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drpt.geometry.quadratic_program import QuadraticProgram
from drpt.geometry.solver import solve
from tests.geometry.problems import (
    SEEDS,
)


@given(seed=SEEDS, n=st.integers(2, 40))
@settings(max_examples=30)
def test_most_corners_of_the_hull_need_no_gradient_steps(seed, n):
    """λn whole: k examples at their caps and nothing between is a corner, and Newton's steps recognise it."""

    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(20, n, 50, generator=generator, dtype=torch.float64) + 3.0
    aligned = torch.einsum("bnd,bd->bn", rows, 100 * torch.randn(20, 50, generator=generator, dtype=torch.float64))
    k = max(1, n // 2)
    solved = solve(
        QuadraticProgram(gramian=rows @ rows.mT, linear=aligned, cap=torch.full((1, n), 1.0 / k, dtype=torch.float64))
    )
    assert solved.is_converged.all()
    at_corner = ((solved.coefficients < 1e-12) | (solved.coefficients > 1.0 / k - 1e-12)).all(dim=1)
    assert at_corner.float().mean() > 0.5
    assert (solved.num_steps[at_corner] < 50).float().mean() > 0.6
