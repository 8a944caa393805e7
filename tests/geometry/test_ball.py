"""A ball around the general mean: both ends, the closest point, and what it is also."""

from hypothesis import given
from hypothesis import strategies as st

from tests.geometry.problems import (
    SEEDS,
    STRENGTHS,
    Problem,
    assert_same,
    projection,
)


@given(seed=SEEDS)
def test_ends_of_the_ball(seed):
    problem = Problem(seed)
    assert_same(problem.update(projection("ball", strength=0.0)), problem.target)
    assert_same(problem.update(projection("ball", strength=1.0)), problem.mean)


@given(seed=SEEDS, strength=st.floats(0.0, 1.0))
def test_ball_is_the_closest_point_of_its_set(seed, strength):
    problem = Problem(seed)
    update = problem.update(projection("ball", strength=strength))
    radius = (1 - strength) * (problem.target - problem.mean).norm(dim=1)
    assert ((update - problem.mean).norm(dim=1) <= radius + 1e-12).all()
    # KKT: what is left, v − u, points outward along u − ḡ, and vanishes if the set is all there is.
    outward = (update - problem.mean) * (problem.target - update)
    assert_same(outward.sum(dim=1), (update - problem.mean).norm(dim=1) * (problem.target - update).norm(dim=1))


@given(seed=SEEDS, strength=STRENGTHS)
def test_mixing_is_relaxing_the_mean(seed, strength):
    problem = Problem(seed)
    mixed = problem.update(projection("ball", strength=strength))
    assert_same(mixed, problem.update(projection("mean", relaxation=1 - strength)))
