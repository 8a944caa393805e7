"""Identities of the sets that hold for any gradients, on products made from explicit ones."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drpt.geometry.products import Coefficients, GeneralRows, NonFiniteProductsError, Products
from drpt.geometry.subset import num_kept
from drpt.modules.build_regularizer import build_regularizer
from drpt.modules.regularizer_spec import RegularizerSpec

SEEDS = st.integers(0, 10_000)
STRENGTHS = st.floats(0.01, 1.0)
BLOCKS, DIM = 3, 7


def regularizer(
    feasible_set, *, strength=None, score="alignment", relaxation=0.0, step_size=None, auto_memory=0.0, base_weights="example"
):
    """One by its dials; a cone or dual cone without a strength is the plain one."""
    if feasible_set in {"cone", "dual_cone"} and strength is None:
        strength = 0.0
    spec = RegularizerSpec(
        name="test",
        set=feasible_set,
        partition="layer",
        score=score,
        strength=strength,
        relaxation=relaxation,
        step_size=step_size,
        auto_memory=auto_memory,
        products="auto",
        base_weights=base_weights,
        scope="all",
        pool="step",
        stopping_share=0.0,
    )
    return build_regularizer(spec, seed=0)


class Problem:
    """Explicit gradients of n examples and a target in some blocks."""

    def __init__(self, seed, n=6):
        generator = torch.Generator().manual_seed(seed)
        self.general = torch.randn(BLOCKS, n, DIM, generator=generator, dtype=torch.float64)
        self.target = torch.randn(BLOCKS, DIM, generator=generator, dtype=torch.float64)
        weights = torch.rand(n, generator=generator, dtype=torch.float64) + 0.1
        self.weights = weights / weights.sum()
        self.ids = torch.arange(n) * 3 + 1

    def reordered(self, order):
        other = Problem.__new__(Problem)
        other.general, other.target = self.general[:, order], self.target
        other.weights, other.ids = self.weights[order], self.ids[order]
        return other

    def scaled(self, factor):
        other = self.reordered(torch.arange(len(self.ids)))
        other.general, other.target = factor * self.general, factor * self.target
        return other

    def doubled(self):
        """Every example twice with half its weight."""
        other = Problem.__new__(Problem)
        other.general, other.target = self.general.repeat_interleave(2, dim=1), self.target
        other.weights = self.weights.repeat_interleave(2) / 2
        other.ids = torch.arange(2 * len(self.ids))
        return other

    def update(self, regularizer):
        products = Products(
            alignment=torch.einsum("bnd,bd->bn", self.general, self.target),
            target_sq=self.target.square().sum(dim=1),
            gramian=torch.einsum("bnd,bmd->bnm", self.general, self.general),
        )
        rows = GeneralRows(base_weights=self.weights, example_ids=self.ids, draw=0)
        found = regularizer.coefficients(rows, products, range(BLOCKS))
        return torch.einsum("bn,bnd->bd", found.general, self.general) + found.target[:, None] * self.target

    @property
    def mean(self):
        return torch.einsum("n,bnd->bd", self.weights, self.general)


def assert_same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@given(seed=SEEDS)
def test_subset_of_all_is_mean(seed):
    problem = Problem(seed)
    assert_same(problem.update(regularizer("subset", strength=1.0)), problem.mean)
    assert_same(problem.update(regularizer("mean")), problem.mean)


@given(seed=SEEDS)
def test_ends_of_the_ball(seed):
    problem = Problem(seed)
    assert_same(problem.update(regularizer("ball", strength=0.0)), problem.target)
    assert_same(problem.update(regularizer("ball", strength=1.0)), problem.mean)


@given(seed=SEEDS, strength=st.floats(0.0, 1.0))
def test_ball_is_the_closest_point_of_its_set(seed, strength):
    problem = Problem(seed)
    update = problem.update(regularizer("ball", strength=strength))
    radius = (1 - strength) * (problem.target - problem.mean).norm(dim=1)
    assert ((update - problem.mean).norm(dim=1) <= radius + 1e-12).all()
    # KKT: what is left, v − u, points outward along u − ḡ, and vanishes if the set is all there is.
    outward = (update - problem.mean) * (problem.target - update)
    assert_same(outward.sum(dim=1), (update - problem.mean).norm(dim=1) * (problem.target - update).norm(dim=1))


@given(seed=SEEDS, name=st.sampled_from(["mean", "subset", "ball", "whole_space"]))
def test_full_relaxation_is_target_only(seed, name):
    strength = 0.5 if name in {"subset", "ball"} else None
    problem = Problem(seed)
    assert_same(problem.update(regularizer(name, strength=strength, relaxation=1.0)), problem.target)
    assert_same(problem.update(regularizer("whole_space")), problem.target)


@given(seed=SEEDS, strength=STRENGTHS, relaxation=st.floats(0.0, 1.0))
def test_relaxation_is_linear(seed, strength, relaxation):
    problem = Problem(seed)
    plain = problem.update(regularizer("subset", strength=strength))
    relaxed = problem.update(regularizer("subset", strength=strength, relaxation=relaxation))
    assert_same(relaxed, (1 - relaxation) * plain + relaxation * problem.target)


@given(seed=SEEDS, strength=STRENGTHS)
def test_mixing_is_relaxing_the_mean(seed, strength):
    problem = Problem(seed)
    mixed = problem.update(regularizer("ball", strength=strength))
    assert_same(mixed, problem.update(regularizer("mean", relaxation=1 - strength)))


@given(seed=SEEDS, strength=STRENGTHS, score=st.sampled_from(["alignment", "random"]))
def test_order_of_examples_does_not_matter(seed, strength, score):
    problem = Problem(seed)
    order = torch.randperm(len(problem.ids), generator=torch.Generator().manual_seed(seed))
    reg = regularizer("subset", strength=strength, score=score)
    assert_same(problem.update(reg), problem.reordered(order).update(reg))


@given(seed=SEEDS, exponent=st.integers(-12, 12), name=st.sampled_from(["mean", "subset", "ball", "whole_space"]))
def test_scaling_all_gradients_scales_the_update(seed, exponent, name):
    reg = regularizer(name, strength=0.5 if name in {"subset", "ball"} else None)
    problem, factor = Problem(seed), 10.0**exponent
    torch.testing.assert_close(problem.scaled(factor).update(reg), factor * problem.update(reg), rtol=1e-12, atol=0)


@given(seed=SEEDS, name=st.sampled_from(["mean", "ball", "whole_space"]))
def test_examples_given_twice_with_half_their_weight_change_nothing(seed, name):
    reg = regularizer(name, strength=0.3 if name == "ball" else None)
    assert_same(Problem(seed).doubled().update(reg), Problem(seed).update(reg))


@given(seed=SEEDS, strength=STRENGTHS)
@settings(max_examples=50)
def test_subset_has_the_highest_score_of_all_subsets_of_its_size(seed, strength):
    import itertools

    problem = Problem(seed, n=5)
    k = num_kept(strength, 5)
    scores = problem.weights * torch.einsum("bnd,bd->bn", problem.general, problem.target)
    update = problem.update(regularizer("subset", strength=strength))
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
    rows = GeneralRows(base_weights=problem.weights, example_ids=problem.ids, draw=0)
    found = regularizer("subset", strength=0.5).coefficients(rows, products, range(BLOCKS))
    assert found.general[0].tolist() == [0.0, 0.5, 0.0, 0.5]


@pytest.mark.parametrize(("strength", "n", "k"), [(0.5, 8, 4), (0.01, 8, 1), (1.0, 8, 8), (0.5, 5, 3), (0.25, 6, 2)])
def test_number_kept(strength, n, k):
    assert num_kept(strength, n) == k


def test_nothing_chosen_weighs_nothing():
    rows = GeneralRows(base_weights=torch.tensor([1.0, 0.0]), example_ids=torch.tensor([0, 1]), draw=0)
    products = Products(alignment=torch.tensor([[-1.0, 2.0]]), target_sq=torch.ones(1))
    found = regularizer("subset", strength=0.5).coefficients(rows, products, [0])
    assert found.general.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_products_that_are_not_finite_are_named(value):
    """With the block's index, not its place in the call, and the example's id."""
    rows = GeneralRows(base_weights=torch.tensor([0.5, 0.5]), example_ids=torch.tensor([30, 41]), draw=0)
    products = Products(alignment=torch.tensor([[1.0, 1.0], [1.0, value]]), target_sq=torch.ones(2))
    message = r"inner products in 1 of 2 blocks \(indices 7\), of the general examples with ids 41, are NaN .*lr.*clip_norm"
    with pytest.raises(NonFiniteProductsError, match=message) as caught:
        regularizer("subset", strength=0.5).coefficients(rows, products, [4, 7])
    assert caught.value.blocks == (7,)
    assert caught.value.example_ids == (41,)


def test_a_target_that_is_not_finite_is_named():
    rows = GeneralRows(base_weights=torch.tensor([0.5, 0.5]), example_ids=torch.tensor([0, 1]), draw=0)
    products = Products(alignment=torch.tensor([[1.0, 1.0]]), target_sq=torch.tensor([float("inf")]))
    with pytest.raises(NonFiniteProductsError, match=r"\(indices 0\), of the target examples, are NaN or infinite"):
        regularizer("l2rw").coefficients(rows, products, [0])


@pytest.mark.parametrize("name", ["hull", "subset", "l2rw"])
def test_scores_and_coefficients_that_are_not_finite_are_refused(name, monkeypatch):
    """Of a set or score from outside, which nobody has checked."""
    rule, problem = regularizer(name, strength=None if name == "l2rw" else 0.5), Problem(0)
    if name == "subset":
        monkeypatch.setattr(type(rule.score), "__call__", lambda *_: torch.full((BLOCKS, 6), float("nan")))
        with pytest.raises(NonFiniteProductsError, match="18 of 18 scores are NaN"):
            problem.update(rule)
        return
    found = Coefficients(general=torch.full((BLOCKS, 6), float("inf")), target=torch.zeros(BLOCKS))
    monkeypatch.setattr(type(rule.feasible_set), "project", lambda *_: found)
    with pytest.raises(NonFiniteProductsError, match=r"coefficients in 3 of 3 blocks \(indices 0, 1, 2\).*ids 1, 4, 7"):
        problem.update(rule)


def test_shapes_are_checked_in_tests():
    from jaxtyping import TypeCheckError

    with pytest.raises(TypeCheckError):
        Products(alignment=torch.ones(3), target_sq=torch.ones(3))
