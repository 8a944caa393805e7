"""Matching pursuit against its definition."""

import torch
from hypothesis import given, settings

from drpt.geometry.subset import num_kept
from tests.geometry.problems import (
    BLOCKS,
    SEEDS,
    SHARES,
    Problem,
    assert_close,
    projection,
)
from tests.reference import sets
from tests.reference.quadratic_program import solve_by_enumeration


@given(seed=SEEDS, share=SHARES)
@settings(max_examples=20)
def test_gradmatch_by_hand(seed, share):
    problem = Problem(seed)

    def point(rows, target):
        return solve_by_enumeration(rows, target)[0] @ rows

    k = num_kept(share, 6)
    expected = torch.stack([sets.matching_pursuit(problem.general[b], problem.target[b], k, point) for b in range(BLOCKS)])
    assert_close(problem.update(projection("gradmatch", strength=share)), expected)


@given(seed=SEEDS)
def test_unridged_relations(seed):
    problem = Problem(seed, n=4)
    assert_close(problem.update(projection("top_span", strength=0.0)), problem.update(projection("span", strength=0.0)))
    assert_close(problem.update(projection("gradmatch", strength=1.0)), problem.update(projection("cone")))
