"""Means of the k best examples."""

import itertools

import pytest
import torch
from hypothesis import given, settings

from drpt.geometry.products import GeneralRows, Products
from drpt.geometry.subset import num_kept
from tests.geometry.problems import (
    BLOCKS,
    SEEDS,
    STRENGTHS,
    Problem,
    assert_same,
    projection,
)


@given(seed=SEEDS)
def test_subset_of_all_is_mean(seed):
    problem = Problem(seed)
    assert_same(problem.update(projection("subset", strength=1.0)), problem.mean)
    assert_same(problem.update(projection("mean")), problem.mean)


@given(seed=SEEDS, strength=STRENGTHS)
@settings(max_examples=50)
def test_subset_has_the_highest_score_of_all_subsets_of_its_size(seed, strength):

    problem = Problem(seed, n=5)
    k = num_kept(strength, 5)
    scores = problem.weights * torch.einsum("bnd,bd->bn", problem.general, problem.target)
    update = problem.update(projection("subset", strength=strength))
    for block in range(BLOCKS):
        best = max(itertools.combinations(range(5), k), key=lambda chosen: float(scores[block, list(chosen)].sum()))
        weights = problem.weights[list(best)]
        assert_same(update[block], (weights[:, None] * problem.general[block, list(best)]).sum(dim=0) / weights.sum())


def test_ties_go_to_the_lower_id():
    problem = Problem(0, n=4)
    problem.general[:] = problem.general[:, :1]
    problem.weights[:] = 0.25
    problem.ids = torch.tensor([9, 2, 7, 4])
    products = Products(alignment=torch.ones(BLOCKS, 4), target_sq=torch.ones(BLOCKS))
    rows = GeneralRows(base_weights=problem.weights, example_ids=problem.ids, step_index=0)
    found = projection("subset", strength=0.5).coefficients(rows, products, range(BLOCKS))
    assert found.general[0].tolist() == [0.0, 0.5, 0.0, 0.5]


@pytest.mark.parametrize(("strength", "n", "k"), [(0.5, 8, 4), (0.01, 8, 1), (1.0, 8, 8), (0.5, 5, 3), (0.25, 6, 2)])
def test_number_kept(strength, n, k):
    assert num_kept(strength, n) == k


def test_nothing_chosen_weighs_nothing():
    rows = GeneralRows(base_weights=torch.tensor([1.0, 0.0]), example_ids=torch.tensor([0, 1]), step_index=0)
    products = Products(alignment=torch.tensor([[-1.0, 2.0]]), target_sq=torch.ones(1))
    found = projection("subset", strength=0.5).coefficients(rows, products, [0])
    assert found.general.tolist() == [[0.0, 0.0]]
