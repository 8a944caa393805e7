"""The set of one point: standard training."""

from hypothesis import given

from tests.geometry.problems import SEEDS, Problem, assert_same, projection


@given(seed=SEEDS)
def test_the_update_is_the_weighted_mean(seed):
    problem, rule = Problem(seed), projection("mean")
    assert_same(problem.update(rule), problem.mean)
    assert not rule.needs_products
    assert not rule.needs_target
