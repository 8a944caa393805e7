"""The subspace of the general gradients, with and without a ridge."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.geometry.problems import (
    SEEDS,
    Problem,
    assert_close,
    assert_small,
    projection,
)


@given(seed=SEEDS)
def test_span_is_the_orthogonal_projection(seed):
    problem = Problem(seed, n=4)
    rest = problem.target - problem.update(projection("span", strength=0.0))
    assert_small(torch.einsum("bnd,bd->bn", problem.general, rest))


@given(seed=SEEDS, ridge=st.floats(1e-3, 10.0))
def test_ridged_span_solves_its_normal_equations(seed, ridge):
    problem = Problem(seed)
    gramian = torch.einsum("bnd,bmd->bnm", problem.general, problem.general)
    size = torch.einsum("bii,i->b", gramian, problem.weights)
    penalty = ridge * size[:, None, None] * torch.diag(1 / problem.weights)
    c = torch.linalg.solve(gramian + penalty, torch.einsum("bnd,bd->bn", problem.general, problem.target))
    assert_close(problem.update(projection("span", strength=ridge)), torch.einsum("bn,bnd->bd", c, problem.general))
