"""The set that regularizes nothing: target-only training."""

from hypothesis import given

from tests.geometry.problems import SEEDS, Problem, assert_same, projection


@given(seed=SEEDS)
def test_the_update_is_the_target_gradient(seed):
    problem, rule = Problem(seed), projection("whole_space")
    assert_same(problem.update(rule), problem.target)
    assert not rule.needs_products
    assert not rule.needs_general
