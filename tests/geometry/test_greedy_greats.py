"""GREATS with interactions, against its definition."""

from hypothesis import given

from drpt.geometry.subset import num_kept
from tests.geometry.problems import SEEDS, SHARES, Problem, assert_same, projection
from tests.reference import sets


@given(seed=SEEDS, share=SHARES)
def test_greats_by_hand(seed, share):
    problem = Problem(seed)
    for step_size in (1e-6, 0.3, 5.0):
        expected = problem.every_block(lambda g, v, w, eta=step_size: sets.greedy_greats(g, v, w, num_kept(share, 6), eta))
        assert_same(problem.update(projection("greedy_greats", strength=share, step_size=step_size)), expected)


@given(seed=SEEDS, share=SHARES)
def test_a_small_step_ranks_by_alignment(seed, share):
    problem = Problem(seed)
    linear = problem.update(projection("subset", strength=share))
    assert_same(problem.update(projection("greedy_greats", strength=share, step_size=1e-9)), linear)
