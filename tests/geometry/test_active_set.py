"""Bound by bound: the objective never rises, and the end is optimal."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drpt.geometry.active_set import active_set
from drpt.geometry.quadratic_program import QuadraticProgram
from tests.geometry.problems import SEEDS, Problem


def program_of(problem, *, sums_to_one):
    products = problem.products()
    n = products.alignment.shape[1]
    cap = torch.full_like(products.alignment, min(1.0, 2.0 / n)) if sums_to_one else None
    return QuadraticProgram(gramian=products.gramian, linear=products.alignment, cap=cap)


@given(seed=SEEDS, n=st.integers(1, 20), sums_to_one=st.booleans())
@settings(max_examples=40)
def test_every_start_leads_to_the_optimum(seed, n, sums_to_one):
    program = program_of(Problem(seed, n=n), sums_to_one=sums_to_one)
    generator = torch.Generator().manual_seed(seed)
    start = program.project(torch.rand(program.linear.shape, generator=generator, dtype=torch.float64))
    found, num_steps = active_set(program, start, program.size, most_steps=6 * n)
    assert (program.objective(found) <= program.objective(start) + 1e-12).all()
    assert (found >= 0).all()
    assert (num_steps >= 1).all()
    assert (program.residual(found) <= 1e-8 * max(1.0, float(program.size.max()))).all()


@pytest.mark.parametrize("sums_to_one", [False, True])
def test_each_step_is_feasible_and_no_worse(sums_to_one):
    program = program_of(Problem(3, n=9), sums_to_one=sums_to_one)
    point = program.project(torch.zeros_like(program.linear))
    before = program.objective(point)
    for most_steps in range(1, 12):
        found, _ = active_set(program, point, program.size, most_steps=most_steps)
        now = program.objective(found)
        assert (now <= before + 1e-12).all()
        torch.testing.assert_close(program.project(found), found, rtol=1e-9, atol=1e-9)
        before = now
