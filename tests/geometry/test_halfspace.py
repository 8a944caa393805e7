"""A-GEM's half-space."""

from hypothesis import given

from tests.geometry.problems import (
    BLOCKS,
    SEEDS,
    Problem,
    assert_close,
    projection,
)


@given(seed=SEEDS)
def test_halfspace_by_hand(seed):
    problem = Problem(seed)
    update, mean = problem.update(projection("halfspace")), problem.mean
    inner = (problem.target * mean).sum(dim=1)
    for block in range(BLOCKS):
        expected = problem.target[block]
        if inner[block] < 0:
            expected = expected - inner[block] / mean[block].square().sum() * mean[block]
        assert_close(update[block], expected)
