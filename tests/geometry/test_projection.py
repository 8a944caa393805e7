"""Relaxation, and what becomes of numbers that are not finite."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drpt.geometry.catalogue import SETS
from drpt.geometry.products import Coefficients, GeneralRows, NonFiniteProductsError, Products
from tests.geometry.problems import (
    BLOCKS,
    DEFAULT,
    SEEDS,
    STRENGTHS,
    Problem,
    any_projection,
    assert_same,
    projection,
)


@given(seed=SEEDS, strength=STRENGTHS, relaxation=st.floats(0.0, 1.0))
def test_relaxation_is_linear(seed, strength, relaxation):
    problem = Problem(seed)
    plain = problem.update(projection("subset", strength=strength))
    relaxed = problem.update(projection("subset", strength=strength, relaxation=relaxation))
    assert_same(relaxed, (1 - relaxation) * plain + relaxation * problem.target)


@pytest.mark.parametrize("name", ["hull", "subset", "l2rw"])
def test_scores_and_coefficients_that_are_not_finite_are_refused(name, monkeypatch):
    """Of a set or score from outside, which nobody has checked."""
    rule, problem = projection(name, strength=None if name == "l2rw" else 0.5), Problem(0)
    if name == "subset":
        monkeypatch.setattr(type(rule.score), "__call__", lambda *_: torch.full((BLOCKS, 6), float("nan")))
        with pytest.raises(NonFiniteProductsError, match="18 of 18 scores are NaN"):
            problem.update(rule)
        return
    found = Coefficients(general=torch.full((BLOCKS, 6), float("inf")), target=torch.zeros(BLOCKS))
    monkeypatch.setattr(type(rule.feasible_set), "project", lambda *_: found)
    with pytest.raises(NonFiniteProductsError, match=r"coefficients in 3 of 3 blocks \(indices 0, 1, 2\).*ids 1, 4, 7"):
        problem.update(rule)


def test_gramian_is_needed():
    rows = GeneralRows(base_weights=torch.ones(1), example_ids=torch.zeros(1, dtype=torch.long), step_index=0)
    with pytest.raises(AssertionError):
        projection("cone").coefficients(rows, Products(alignment=torch.ones(1, 1), target_sq=torch.ones(1)), [0])


@pytest.mark.parametrize("name", SETS)
def test_full_relaxation_is_target_only(name):
    entry = SETS[name]
    strength = None if entry.strength is None else DEFAULT.get(name, 0.5)
    rule = projection(name, strength=strength, relaxation=1.0, step_size=0.1 if entry.takes_step_size else None)
    problem = Problem(2)
    assert_same(problem.update(rule), problem.target)


@pytest.mark.parametrize("name", SETS)
def test_what_is_built_is_what_the_catalogue_says(name):
    built = any_projection(name)
    assert built.feasible_set.takes_score == SETS[name].takes_score
    assert built.auto is None
    assert any_projection(name, relaxation=1.0).needs_products is False


@pytest.mark.parametrize("name", [name for name, entry in SETS.items() if entry.offers_auto])
def test_automatic_strengths_can_be_built(name):
    built = projection(name, strength="auto")
    assert built.needs_spread
    assert built.needs_gramian
    assert all(SETS[name].strength.admits(strength) for strength in SETS[name].auto_grid)


@pytest.mark.parametrize(
    ("name", "strength", "most"),
    [("subset", 0.5, 4), ("gradmatch", 0.25, 2), ("exact_subset", 1.0, 8), ("hull", 0.25, 8), ("whole_space", None, 8)],
)
def test_the_number_of_examples_with_a_coefficient_is_known(name, strength, most):
    assert projection(name, strength=strength).most_kept(8) == most
    if SETS[name].offers_auto:
        assert projection(name, strength="auto").most_kept(8) == 8
