"""A subset grown greedily, against its definition."""

from hypothesis import given

from drpt.geometry.subset import num_kept
from tests.geometry.problems import SEEDS, SHARES, Problem, assert_same, projection
from tests.reference import sets


@given(seed=SEEDS, share=SHARES)
def test_greedy_subset_by_hand(seed, share):
    problem = Problem(seed)
    expected = problem.every_block(lambda g, v, w: sets.greedy_euclidean(g, v, w, num_kept(share, 6)))
    assert_same(problem.update(projection("greedy_euclidean", strength=share)), expected)
