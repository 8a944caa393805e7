"""Negative filtering."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.geometry.problems import (
    BLOCKS,
    SEEDS,
    Problem,
    assert_same,
    projection,
)


@given(seed=SEEDS, strength=st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_filter_drops_the_most_negative_first(seed, strength):
    problem = Problem(seed)
    scores = problem.weights * torch.einsum("bnd,bd->bn", problem.general, problem.target)
    update = problem.update(projection("filter", strength=strength))
    for block in range(BLOCKS):
        order = sorted(range(6), key=lambda i: -float(scores[block, i]))
        num_negative = int((scores[block] < 0).sum())
        kept = order[: 6 - num_negative + int(strength * num_negative + 0.5)]
        total = sum(problem.weights[i] for i in kept)
        expected = sum((problem.weights[i] / total * problem.general[block, i] for i in kept), torch.zeros(7).double())
        assert_same(update[block], expected)
    if strength == 1.0:
        assert_same(update, problem.mean)
