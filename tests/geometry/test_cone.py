"""The cone against exact solutions and its optimality conditions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.geometry.problems import (
    BLOCKS,
    SEEDS,
    Problem,
    projection,
)
from tests.reference.quadratic_program import solve_by_enumeration


@given(seed=SEEDS, n=st.integers(1, 5))
@settings(max_examples=25)
def test_cone_is_exact(seed, n):
    problem = Problem(seed, n=n)
    found = problem.distance(projection("cone"))
    for block in range(BLOCKS):
        _, expected = solve_by_enumeration(problem.general[block], problem.target[block])
        assert float(found[block]) ** 2 == pytest.approx(expected, rel=1e-8)


@given(seed=SEEDS, ridge=st.sampled_from([0.01, 0.3, 10.0]))
def test_ridged_cone_meets_its_conditions(seed, ridge):
    """c ≥ 0, slope ≥ 0 and one of both zero, with the ridge's slope added."""
    problem = Problem(seed)
    found = problem.found(projection("cone", strength=ridge)).general
    size = torch.einsum("bnd,bnd,n->b", problem.general, problem.general, problem.weights)
    update = torch.einsum("bn,bnd->bd", found, problem.general)
    slope = torch.einsum("bnd,bd->bn", problem.general, update - problem.target)
    slope = slope + ridge * size[:, None] * found / problem.weights
    assert (found >= 0).all()
    assert (slope > -1e-7).all()
    assert (found * slope).abs().max() < 1e-7
