"""CAGrad between the target gradient and the best worst case."""

import torch
from hypothesis import given

from tests.geometry.problems import (
    SEEDS,
    Problem,
    assert_same,
    projection,
)


@given(seed=SEEDS)
def test_ends_of_cagrad(seed):
    problem = Problem(seed)
    assert_same(problem.update(projection("cagrad", strength=0.0)), problem.target)
    inner = torch.einsum("bnd,bd->bn", problem.general, problem.update(projection("cagrad", strength=0.9))).amin(dim=1)
    before = torch.einsum("bnd,bd->bn", problem.general, problem.target).amin(dim=1)
    assert (inner >= before - 1e-9).all()
