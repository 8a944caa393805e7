"""The dual cone: feasible, complementary to the cone, and its margin."""

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
def test_dual_cone_is_feasible_and_complements_the_cone(seed):
    problem = Problem(seed)
    update = problem.update(projection("dual_cone"))
    assert (torch.einsum("bnd,bd->bn", problem.general, update) > -1e-7).all()
    mirrored = problem.scaled(1.0)
    mirrored.target = -problem.target
    assert_close(update, problem.target + mirrored.update(projection("cone")))  # Moreau
    assert_small(((problem.target - update) * update).sum(dim=1))


@given(seed=SEEDS, margin=st.sampled_from([0.1, 1.0]))
def test_margin_bounds_the_multipliers(seed, margin):
    problem = Problem(seed)
    found = problem.found(projection("dual_cone", strength=margin)).general
    least = margin * problem.weights
    assert (found >= least - 1e-12).all()
    update = problem.target + torch.einsum("bn,bnd->bd", found, problem.general)
    inner = torch.einsum("bnd,bd->bn", problem.general, update)
    assert (inner > -1e-7).all()
    assert ((found - least) * inner).abs().max() < 1e-7
