"""What holds for every set of the catalogue, whatever the gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drpt.geometry.catalogue import SETS
from drpt.geometry.products import GeneralRows, NonFiniteProductsError, Products
from tests.geometry.problems import (
    BLOCKS,
    SEEDS,
    Problem,
    any_projection,
    assert_close,
    projection,
)

CONVEX = {"hull": 0.4, "cone": 0.0, "dual_cone": 0.0, "halfspace": None, "span": 0.0}
FIXED = {"mean", "whole_space", "subset", "ball"}  # in closed form: equal but for the last digits
DOUBLED = CONVEX | {"mgda": None, "cagrad": 0.5, "l2rw": None, "ball": 0.3, "mean": None, "whole_space": None}


def tolerance_of(name):
    return 1e-12 if name in FIXED else 1e-7


@given(seed=SEEDS, name=st.sampled_from(sorted(CONVEX)))
def test_projection_is_idempotent_and_non_expansive(seed, name):
    problem, other, rule = Problem(seed), Problem(seed), projection(name, strength=CONVEX[name])
    once = problem.update(rule)
    other.target = problem.target + torch.randn_like(problem.target)
    shift = (other.update(rule) - once).norm(dim=1)
    assert (shift <= (other.target - problem.target).norm(dim=1) + 1e-8).all()
    problem.target = once
    assert_close(problem.update(rule), once)


@pytest.mark.parametrize("name", SETS)
@given(seed=SEEDS)
@settings(max_examples=15)
def test_order_of_examples_does_not_matter(name, seed):
    problem = Problem(seed)
    order = torch.randperm(len(problem.ids), generator=torch.Generator().manual_seed(seed))
    found, expected = problem.reordered(order).update(any_projection(name)), problem.update(any_projection(name))
    assert_close(found, expected, tolerance_of(name))


@pytest.mark.parametrize("name", sorted(SETS.keys() - {"greedy_greats"}))  # its step has a unit
@given(seed=SEEDS, exponent=st.integers(-12, 12))
@settings(max_examples=15)
def test_scaling_all_gradients_scales_the_update(name, seed, exponent):
    problem, factor = Problem(seed), 10.0**exponent
    found, expected = problem.scaled(factor).update(any_projection(name)), problem.update(any_projection(name))
    assert_close(found / factor, expected, tolerance_of(name))


@pytest.mark.parametrize("name", SETS)
def test_everyday_degenerate_input(name):
    """One example; repeated and vanishing ones; sizes from 1e-12 to 1e12 among blocks and among examples; more than d."""
    assert torch.isfinite(Problem(3, n=1).update(any_projection(name))).all()
    assert torch.isfinite(Problem(5, n=16).update(any_projection(name))).all()  # 16 gradients in 7 dimensions
    problem = Problem(4, n=5)
    problem.general[:, 1] = problem.general[:, 0]
    problem.general[:, 2] = 0
    problem.general[0] *= 1e12
    problem.general[1] *= 1e-12
    problem.general[2] = 0
    update = problem.update(any_projection(name))
    assert torch.isfinite(update).all()
    if name in CONVEX:  # without general gradients a set of directions is everything, and a set of points is the origin
        assert_close(update[2], problem.target[2] if name in {"dual_cone", "halfspace"} else torch.zeros(7).double())
    problem = Problem(6, n=5)
    problem.general *= (10.0 ** torch.arange(-12, 13, 6, dtype=torch.float64))[:, None]
    assert torch.isfinite(problem.update(any_projection(name))).all()
    problem.target[:] = 0
    assert torch.isfinite(problem.update(any_projection(name))).all()


@pytest.mark.parametrize("name", [name for name, entry in SETS.items() if name not in {"whole_space", "mean", "ball"}])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_products_that_are_not_finite_are_named(name, value):
    problem = Problem(0)
    problem.general[0, 0, 0] = value
    with pytest.raises(NonFiniteProductsError, match="NaN or infinite"):
        problem.update(any_projection(name))


@pytest.mark.parametrize("name", SETS)
def test_weights_of_every_block_are_its_own(name):
    """One block at a time with its weights gives what all at once give."""
    problem = Problem(9)
    problem.weights = torch.rand(BLOCKS, 6, dtype=torch.float64) + 0.1
    problem.weights /= problem.weights.sum(dim=1, keepdim=True)
    together = problem.update(any_projection(name))
    for block in range(BLOCKS):
        alone = Problem(9)
        alone.weights = problem.weights[block]
        assert_close(alone.update(any_projection(name))[block], together[block])


@pytest.mark.parametrize(("name", "strength"), [*DOUBLED.items(), ("cone", 0.3), ("dual_cone", 0.3), ("span", 0.3)])
@given(seed=SEEDS)
@settings(max_examples=15)
def test_examples_given_twice_with_half_their_weight_change_nothing(name, strength, seed):
    rule = projection(name, strength=strength)
    assert_close(Problem(seed).doubled().update(rule), Problem(seed).update(rule), tolerance_of(name))


@pytest.mark.parametrize(("name", "strength"), [("hull", 0.4), ("cone", 0.0), ("span", 0.0), ("exact_subset", 0.5)])
@given(seed=SEEDS)
@settings(max_examples=20)
def test_finer_partition_comes_no_less_near(name, strength, seed):
    """Three blocks that choose for themselves against the three seen as one."""
    fine, coarse = Problem(seed), Problem(seed)
    coarse.general = fine.general.permute(1, 0, 2).reshape(1, 6, -1)
    coarse.target = fine.target.reshape(1, -1)
    rule = projection(name, strength=strength)
    distances = []
    for problem in (fine, coarse):
        found = problem.found(rule).general
        update = torch.einsum("bn,bnd->bd", found, problem.general)
        distances.append(float((update - problem.target).norm()))
    assert distances[0] <= distances[1] + 1e-8


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("exponent", [-1, -4, -9])
@pytest.mark.parametrize(("name", "strength"), [("cone", 0.0), ("dual_cone", 0.0), ("span", 0.0)])
@given(seed=SEEDS)
@settings(max_examples=10)
def test_length_of_an_example_does_not_matter(name, strength, exponent, dtype, seed):
    """A cone or subspace is that of directions: a short gradient counts as a long one, in the products' own precision too."""
    problem, shrunk = Problem(seed, n=4), Problem(seed, n=4)
    shrunk.general[:, 1] *= 10.0**exponent
    updates = []
    for each in (problem, shrunk):
        rows = GeneralRows(base_weights=each.weights, example_ids=each.ids, step_index=0)
        products = Products(
            alignment=torch.einsum("bnd,bd->bn", each.general, each.target).to(dtype),
            target_sq=each.target.square().sum(dim=1).to(dtype),
            gramian=torch.einsum("bnd,bmd->bnm", each.general, each.general).to(dtype),
        )
        found = projection(name, strength=strength).coefficients(rows, products, range(BLOCKS))
        if found.solved is not None:
            assert found.solved.is_converged.all()
        updates.append(torch.einsum("bn,bnd->bd", found.general, each.general) + found.target[:, None] * each.target)
    # Float32 products of random directions: their rounding, times the condition of four of them in seven dimensions.
    tolerance = 1e-7 if dtype is torch.float64 else 2e-3
    torch.testing.assert_close(updates[0], updates[1], rtol=tolerance, atol=tolerance)
