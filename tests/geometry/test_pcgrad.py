"""Gradient surgery against its definition."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from drpt.geometry.products import GeneralRows
from drpt.geometry.subset import best_first
from tests.geometry.problems import (
    BLOCKS,
    SEEDS,
    Problem,
    assert_close,
    assert_same,
    projection,
)
from tests.reference import sets


@given(seed=SEEDS, score=st.sampled_from(["random", "alignment"]))
def test_pcgrad_by_hand(seed, score):
    problem = Problem(seed)
    rule = projection("pcgrad", score=score)
    rows = GeneralRows(base_weights=problem.weights, example_ids=problem.ids, step_index=0)
    update = problem.update(rule)
    if score == "random":
        scores = rule.score(rows, None, range(BLOCKS))
    else:
        scores = problem.weights * torch.einsum("bnd,bd->bn", problem.general, problem.target)
    order = best_first(scores, rows)
    for block in range(BLOCKS):
        assert_same(update[block], sets.pcgrad(problem.general[block], problem.target[block], order[block].tolist()))
    one = Problem(seed, n=1)
    assert_close(one.update(rule), one.update(projection("dual_cone")))
