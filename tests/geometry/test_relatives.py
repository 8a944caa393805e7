"""Subsets, principal directions and gradient surgery against their definitions; what holds for every set there is."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drpt.geometry.catalogue import SETS
from drpt.geometry.products import GeneralRows, NonFiniteProductsError, Products
from drpt.geometry.subset import best_first, num_kept
from tests.geometry.test_identities import BLOCKS, SEEDS, Problem, assert_same, regularizer
from tests.reference import sets
from tests.reference.quadratic_program import solve_by_enumeration

SHARES = st.sampled_from([0.01, 0.4, 0.5, 0.7, 1.0])
DEFAULT = {"greedy_greats": 0.5, "cone": 0.1, "dual_cone": 0.1, "span": 0.1}


def any_regularizer(name, strength=None):
    """One of every set, by its name."""
    entry = SETS[name]
    if entry.strength is not None and strength is None:
        strength = DEFAULT.get(name, 0.5)
    return regularizer(name, strength=strength, step_size=0.1 if entry.takes_step_size else None)


def every_block(problem, reference):
    return torch.stack([reference(problem.general[b], problem.target[b], problem.weights) for b in range(BLOCKS)])


@given(seed=SEEDS, share=SHARES)
def test_greedy_subsets_by_hand(seed, share):
    problem = Problem(seed)
    k = num_kept(share, 6)
    expected = every_block(problem, lambda g, v, w: sets.greedy_euclidean(g, v, w, k))
    assert_same(problem.update(regularizer("greedy_euclidean", strength=share)), expected)
    for step_size in (1e-6, 0.3, 5.0):
        expected = every_block(problem, lambda g, v, w, eta=step_size: sets.greedy_greats(g, v, w, k, eta))
        assert_same(problem.update(regularizer("greedy_greats", strength=share, step_size=step_size)), expected)
    linear = problem.update(regularizer("subset", strength=share))
    assert_same(problem.update(regularizer("greedy_greats", strength=share, step_size=1e-9)), linear)


@given(seed=SEEDS, share=SHARES)
def test_exact_subset_by_enumeration(seed, share):
    problem = Problem(seed)
    expected = every_block(problem, lambda g, v, w: sets.exact_subset(g, v, w, num_kept(share, 6)))
    found = problem.update(regularizer("exact_subset", strength=share))
    assert_same(found, expected)
    for name in ("greedy_euclidean", "subset"):
        other = problem.update(regularizer(name, strength=share))
        assert ((found - problem.target).norm(dim=1) <= (other - problem.target).norm(dim=1) + 1e-12).all()


def test_exact_subset_with_weights_of_every_block():
    problem = Problem(1)
    weights = torch.rand(BLOCKS, 6, dtype=torch.float64) + 0.1
    weights /= weights.sum(dim=1, keepdim=True)
    problem.weights = weights
    expected = torch.stack([sets.exact_subset(problem.general[b], problem.target[b], weights[b], 3) for b in range(BLOCKS)])
    assert_same(problem.update(regularizer("exact_subset", strength=0.5)), expected)


def test_exact_subset_of_too_many_is_refused():
    with pytest.raises(ValueError, match="at most 16 examples, not of 17"):
        Problem(0, n=17).update(regularizer("exact_subset", strength=0.5))


@given(seed=SEEDS, strength=st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]))
def test_top_span_through_singular_vectors(seed, strength):
    problem = Problem(seed)
    rank = max(1, int((1 - strength) * 6 + 0.5))
    expected = every_block(problem, lambda g, v, w: sets.top_span(g, v, w, rank))
    torch.testing.assert_close(problem.update(regularizer("top_span", strength=strength)), expected, rtol=1e-8, atol=1e-8)


@given(seed=SEEDS)
def test_unridged_relations(seed):
    problem = Problem(seed, n=4)
    close(problem.update(regularizer("top_span", strength=0.0)), problem.update(regularizer("span", strength=0.0)))
    close(problem.update(regularizer("gradmatch", strength=1.0)), problem.update(regularizer("cone")))


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-7)


@given(seed=SEEDS, ridge=st.sampled_from([0.01, 0.3, 10.0]))
def test_ridged_cone_meets_its_conditions(seed, ridge):
    """c ≥ 0, slope ≥ 0 and one of both zero, with the ridge's slope added."""
    problem = Problem(seed)
    found = coefficients(problem, regularizer("cone", strength=ridge))
    size = torch.einsum("bnd,bnd,n->b", problem.general, problem.general, problem.weights)
    update = torch.einsum("bn,bnd->bd", found, problem.general)
    slope = torch.einsum("bnd,bd->bn", problem.general, update - problem.target)
    slope = slope + ridge * size[:, None] * found / problem.weights
    assert (found >= 0).all()
    assert (slope > -1e-7).all()
    assert (found * slope).abs().max() < 1e-7


def coefficients(problem, rule, num_blocks=BLOCKS):
    products = Products(
        alignment=torch.einsum("bnd,bd->bn", problem.general, problem.target),
        target_sq=problem.target.square().sum(dim=1),
        gramian=torch.einsum("bnd,bmd->bnm", problem.general, problem.general),
    )
    rows = GeneralRows(base_weights=problem.weights, example_ids=problem.ids, draw=0)
    return rule.coefficients(rows, products, range(num_blocks)).general


@given(seed=SEEDS, margin=st.sampled_from([0.1, 1.0]))
def test_margin_bounds_the_multipliers(seed, margin):
    problem = Problem(seed)
    found = coefficients(problem, regularizer("dual_cone", strength=margin))
    least = margin * problem.weights
    assert (found >= least - 1e-12).all()
    update = problem.target + torch.einsum("bn,bnd->bd", found, problem.general)
    inner = torch.einsum("bnd,bd->bn", problem.general, update)
    assert (inner > -1e-7).all()
    assert ((found - least) * inner).abs().max() < 1e-7


@given(seed=SEEDS, score=st.sampled_from(["random", "alignment"]))
def test_pcgrad_by_hand(seed, score):
    problem = Problem(seed)
    rule = regularizer("pcgrad", score=score)
    rows = GeneralRows(base_weights=problem.weights, example_ids=problem.ids, draw=0)
    update = problem.update(rule)
    if score == "random":
        scores = rule.score(rows, None, range(BLOCKS))
    else:
        scores = problem.weights * torch.einsum("bnd,bd->bn", problem.general, problem.target)
    order = best_first(scores, rows)
    for block in range(BLOCKS):
        assert_same(update[block], sets.pcgrad(problem.general[block], problem.target[block], order[block].tolist()))
    one = Problem(seed, n=1)
    close(one.update(rule), one.update(regularizer("dual_cone")))


@given(seed=SEEDS)
def test_l2rw_by_hand(seed):
    problem = Problem(seed)
    assert_same(problem.update(regularizer("l2rw")), every_block(problem, sets.l2rw))
    problem.target = -problem.general.sum(dim=1)
    problem.general = problem.general.abs()
    problem.target = -problem.target.abs()
    assert (problem.update(regularizer("l2rw")) == 0).all()


@given(seed=SEEDS, share=SHARES)
@settings(max_examples=20)
def test_gradmatch_by_hand(seed, share):
    problem = Problem(seed)

    def point(rows, target):
        return solve_by_enumeration(rows, target)[0] @ rows

    k = num_kept(share, 6)
    expected = torch.stack([sets.matching_pursuit(problem.general[b], problem.target[b], k, point) for b in range(BLOCKS)])
    close(problem.update(regularizer("gradmatch", strength=share)), expected)


@given(seed=SEEDS)
def test_ends_of_cagrad(seed):
    problem = Problem(seed)
    assert_same(problem.update(regularizer("cagrad", strength=0.0)), problem.target)
    inner = torch.einsum("bnd,bd->bn", problem.general, problem.update(regularizer("cagrad", strength=0.9))).amin(dim=1)
    before = torch.einsum("bnd,bd->bn", problem.general, problem.target).amin(dim=1)
    assert (inner >= before - 1e-9).all()


@pytest.mark.parametrize("name", SETS)
@given(seed=SEEDS)
@settings(max_examples=15)
def test_order_of_examples_does_not_matter(name, seed):
    problem = Problem(seed)
    order = torch.randperm(len(problem.ids), generator=torch.Generator().manual_seed(seed))
    close(problem.reordered(order).update(any_regularizer(name)), problem.update(any_regularizer(name)))


@pytest.mark.parametrize("name", sorted(SETS.keys() - {"greedy_greats"}))  # its step has a unit
@given(seed=SEEDS, exponent=st.integers(-12, 12))
@settings(max_examples=15)
def test_scaling_all_gradients_scales_the_update(name, seed, exponent):
    problem, factor = Problem(seed), 10.0**exponent
    close(problem.scaled(factor).update(any_regularizer(name)) / factor, problem.update(any_regularizer(name)))


@pytest.mark.parametrize("name", SETS)
def test_everyday_degenerate_input(name):
    """One example; repeated and vanishing ones; sizes from 1e-12 to 1e12 among blocks and among examples; more than d."""
    assert torch.isfinite(Problem(3, n=1).update(any_regularizer(name))).all()
    assert torch.isfinite(Problem(5, n=16).update(any_regularizer(name))).all()  # 16 gradients in 7 dimensions
    problem = Problem(4, n=5)
    problem.general[:, 1] = problem.general[:, 0]
    problem.general[:, 2] = 0
    problem.general[0] *= 1e12
    problem.general[1] *= 1e-12
    problem.general[2] = 0
    update = problem.update(any_regularizer(name))
    assert torch.isfinite(update).all()
    problem = Problem(6, n=5)
    problem.general *= (10.0 ** torch.arange(-12, 13, 6, dtype=torch.float64))[:, None]
    assert torch.isfinite(problem.update(any_regularizer(name))).all()
    problem.target[:] = 0
    assert torch.isfinite(problem.update(any_regularizer(name))).all()


@pytest.mark.parametrize("name", [name for name, entry in SETS.items() if name not in {"whole_space", "mean", "ball"}])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_products_that_are_not_finite_are_named(name, value):
    problem = Problem(0)
    problem.general[0, 0, 0] = value
    with pytest.raises(NonFiniteProductsError, match="NaN or infinite"):
        problem.update(any_regularizer(name))


@pytest.mark.parametrize("name", SETS)
def test_weights_of_every_block_are_its_own(name):
    """One block at a time with its weights gives what all at once give."""
    problem = Problem(9)
    problem.weights = torch.rand(BLOCKS, 6, dtype=torch.float64) + 0.1
    problem.weights /= problem.weights.sum(dim=1, keepdim=True)
    together = problem.update(any_regularizer(name))
    for block in range(BLOCKS):
        alone = Problem(9)
        alone.weights = problem.weights[block]
        close(alone.update(any_regularizer(name))[block], together[block])


@pytest.mark.parametrize(
    ("name", "strength"), [("cone", 0.3), ("dual_cone", 0.3), ("mgda", None), ("cagrad", 0.5), ("l2rw", None), ("ball", 0.3)]
)
@given(seed=SEEDS)
@settings(max_examples=15)
def test_examples_given_twice_with_half_their_weight_change_nothing(name, strength, seed):
    rule = regularizer(name, strength=strength)
    close(Problem(seed).doubled().update(rule), Problem(seed).update(rule))


@pytest.mark.parametrize(("name", "strength"), [("hull", 0.4), ("cone", 0.0), ("span", 0.0), ("exact_subset", 0.5)])
@given(seed=SEEDS)
@settings(max_examples=20)
def test_finer_partition_comes_no_less_near(name, strength, seed):
    """Three blocks that choose for themselves against the three seen as one."""
    fine, coarse = Problem(seed), Problem(seed)
    coarse.general = fine.general.permute(1, 0, 2).reshape(1, 6, -1)
    coarse.target = fine.target.reshape(1, -1)
    rule = regularizer(name, strength=strength)
    distances = []
    for problem, num_blocks in ((fine, BLOCKS), (coarse, 1)):
        found = coefficients(problem, rule, num_blocks)
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
        rows = GeneralRows(base_weights=each.weights, example_ids=each.ids, draw=0)
        products = Products(
            alignment=torch.einsum("bnd,bd->bn", each.general, each.target).to(dtype),
            target_sq=each.target.square().sum(dim=1).to(dtype),
            gramian=torch.einsum("bnd,bmd->bnm", each.general, each.general).to(dtype),
        )
        found = regularizer(name, strength=strength).coefficients(rows, products, range(BLOCKS))
        if found.solved is not None:
            assert found.solved.is_converged.all()
        updates.append(torch.einsum("bn,bnd->bd", found.general, each.general) + found.target[:, None] * each.target)
    # Float32 products of random directions: their rounding, times the condition of four of them in seven dimensions.
    tolerance = 1e-7 if dtype is torch.float64 else 2e-3
    torch.testing.assert_close(updates[0], updates[1], rtol=tolerance, atol=tolerance)


@given(seed=SEEDS, n=st.integers(2, 40))
@settings(max_examples=30)
def test_most_corners_of_the_hull_need_no_gradient_steps(seed, n):
    """λn whole: k examples at their caps and nothing between is a corner, and Newton's steps recognise it."""
    from drpt.geometry.quadratic_program import QuadraticProgram
    from drpt.geometry.solver import solve

    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(20, n, 50, generator=generator, dtype=torch.float64) + 3.0
    aligned = torch.einsum("bnd,bd->bn", rows, 100 * torch.randn(20, 50, generator=generator, dtype=torch.float64))
    k = max(1, n // 2)
    solved = solve(
        QuadraticProgram(gramian=rows @ rows.mT, linear=aligned, cap=torch.full((1, n), 1.0 / k, dtype=torch.float64))
    )
    assert solved.is_converged.all()
    at_corner = ((solved.coefficients < 1e-12) | (solved.coefficients > 1.0 / k - 1e-12)).all(dim=1)
    assert at_corner.float().mean() > 0.5
    assert (solved.num_steps[at_corner] < 50).float().mean() > 0.6


@pytest.mark.parametrize("name", SETS)
def test_full_relaxation_is_target_only(name):
    entry = SETS[name]
    strength = None if entry.strength is None else DEFAULT.get(name, 0.5)
    rule = regularizer(name, strength=strength, relaxation=1.0, step_size=0.1 if entry.takes_step_size else None)
    problem = Problem(2)
    assert_same(problem.update(rule), problem.target)
