"""Weights by alignment against their definition."""

from hypothesis import given

from tests.geometry.problems import (
    SEEDS,
    Problem,
    assert_same,
    projection,
)
from tests.reference import sets


@given(seed=SEEDS)
def test_l2rw_by_hand(seed):
    problem = Problem(seed)
    assert_same(problem.update(projection("l2rw")), problem.every_block(sets.l2rw))
    problem.target = -problem.general.sum(dim=1)
    problem.general = problem.general.abs()
    problem.target = -problem.target.abs()
    assert (problem.update(projection("l2rw")) == 0).all()
