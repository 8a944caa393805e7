"""The hull against exact solutions and subsets."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drpt.geometry.subset import num_kept
from tests.geometry.problems import (
    BLOCKS,
    SEEDS,
    Problem,
    assert_same,
    projection,
)
from tests.reference.quadratic_program import solve_by_enumeration


@given(seed=SEEDS, strength=st.sampled_from([0.2, 0.25, 0.5, 0.8, 1.0]))
@settings(max_examples=25)
def test_hull_is_exact(seed, strength):
    problem = Problem(seed, n=4)
    found = problem.distance(projection("hull", strength=strength))
    cap = (problem.weights / strength).clamp(max=1.0)
    for block in range(BLOCKS):
        _, expected = solve_by_enumeration(problem.general[block], problem.target[block], cap=cap, sums_to_one=True)
        assert float(found[block]) ** 2 == pytest.approx(expected, rel=1e-8)


@given(seed=SEEDS)
@settings(max_examples=30)
def test_hull_comes_nearer_than_any_subset(seed):
    """With uniform weights its corners are the means of k examples."""
    problem = Problem(seed, n=6)
    problem.weights = torch.full((6,), 1 / 6, dtype=torch.float64)
    hull = problem.distance(projection("hull", strength=0.5))
    k = num_kept(0.5, 6)
    means = torch.stack([problem.general[:, list(chosen)].mean(dim=1) for chosen in itertools.combinations(range(6), k)], dim=1)
    nearest = (means - problem.target[:, None]).norm(dim=2).amin(dim=1)
    assert (hull <= nearest + 1e-9).all()


@given(seed=SEEDS)
def test_larger_sets_come_nearer(seed):
    problem = Problem(seed)
    distances = [
        problem.distance(projection("hull", strength=1.0)),
        problem.distance(projection("hull", strength=0.5)),
        problem.distance(projection("hull", strength=0.01)),
    ]
    distances += [problem.distance(projection("cone")), problem.distance(projection("span", strength=0.0))]
    for nearer, farther in itertools.pairwise(reversed(distances)):
        assert (nearer <= farther + 1e-9).all()
    assert_same(problem.update(projection("hull", strength=1.0)), problem.mean)
