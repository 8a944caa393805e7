"""The best subset of all there are."""

import pytest
import torch
from hypothesis import given

from drpt.geometry.subset import num_kept
from tests.geometry.problems import (
    BLOCKS,
    SEEDS,
    SHARES,
    Problem,
    assert_same,
    projection,
)
from tests.reference import sets


@given(seed=SEEDS, share=SHARES)
def test_exact_subset_by_enumeration(seed, share):
    problem = Problem(seed)
    expected = problem.every_block(lambda g, v, w: sets.exact_subset(g, v, w, num_kept(share, 6)))
    found = problem.update(projection("exact_subset", strength=share))
    assert_same(found, expected)
    for name in ("greedy_euclidean", "subset"):
        other = problem.update(projection(name, strength=share))
        assert ((found - problem.target).norm(dim=1) <= (other - problem.target).norm(dim=1) + 1e-12).all()


def test_exact_subset_with_weights_of_every_block():
    problem = Problem(1)
    weights = torch.rand(BLOCKS, 6, dtype=torch.float64) + 0.1
    weights /= weights.sum(dim=1, keepdim=True)
    problem.weights = weights
    expected = torch.stack([sets.exact_subset(problem.general[b], problem.target[b], weights[b], 3) for b in range(BLOCKS)])
    assert_same(problem.update(projection("exact_subset", strength=0.5)), expected)


def test_exact_subset_of_too_many_is_refused():
    with pytest.raises(ValueError, match="at most 16 examples, not of 17"):
        Problem(0, n=17).update(projection("exact_subset", strength=0.5))
