"""Strength without tuning: what is estimated, what is chosen, and how near it comes to the best there is."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drpt.geometry.auto import estimated_risk
from drpt.geometry.catalogue import SETS
from drpt.geometry.products import GeneralRows, NonFiniteProductsError, Products
from tests.geometry.problems import SEEDS, projection

DIM, N = 300, 8  # noise in 300 directions: the choice itself costs little


def products_of(general, targets):
    target = targets.mean(dim=1)
    return Products(
        alignment=torch.einsum("bnd,bd->bn", general, target),
        target_sq=target.square().sum(dim=1),
        gramian=general @ general.mT,
        cross=general @ targets.mT,
        target_gramian=targets @ targets.mT,
    )


def coefficients_of(rule, general, targets, blocks=None):
    n = general.shape[1]
    rows = GeneralRows(base_weights=torch.full((n,), 1 / n, dtype=torch.float64), example_ids=torch.arange(n), step_index=0)
    return rule.coefficients(rows, products_of(general, targets), blocks or range(len(general)))


def update_of(rule, general, targets):
    found = coefficients_of(rule, general, targets)
    return torch.einsum("bn,bnd->bd", found.general, general) + found.target[:, None] * targets.mean(dim=1)


def gaussians(m, *, distance, spread, count=300, seed=0):
    """Independent steps, a block each: v* of length 1, the general mean ``distance`` away from 0.6 v*."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.zeros(DIM, dtype=torch.float64)
    truth[0] = 1.0
    away = torch.randn(DIM, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    general = 0.6 * truth + distance * away / away.norm()
    general = general + torch.randn(count, N, DIM, generator=generator, dtype=torch.float64) / DIM**0.5
    targets = truth + spread * torch.randn(count, m, DIM, generator=generator, dtype=torch.float64) / DIM**0.5
    return truth, general, targets


def error(rule, truth, general, targets):
    return float((update_of(rule, general, targets) - truth).square().sum(dim=1).mean())


@pytest.mark.parametrize("m", [4, 8])
@pytest.mark.parametrize("distance", [0.1, 0.5, 1.5])
@pytest.mark.parametrize("spread", [0.5, 2.0])
@pytest.mark.parametrize("name", ["ball", "hull", "span"])
def test_error_is_near_that_of_the_best_fixed_strength(name, m, distance, spread):
    """Within 10 %, and no worse than the worse end; one step each, nothing smoothed."""
    case = gaussians(m, distance=distance, spread=spread)
    grid = SETS[name].auto_grid or [i / 40 for i in range(41)]
    fixed = [error(projection(name, strength=strength), *case) for strength in grid]
    found = error(projection(name, strength="auto"), *case)
    assert found <= 1.1 * min(fixed)
    assert found <= max(fixed[0], fixed[-1])


@pytest.mark.parametrize("m", [4, 8])
@pytest.mark.parametrize(("distance", "spread"), [(0.1, 2.0), (0.5, 0.5), (1.5, 2.0)])
@pytest.mark.parametrize(("name", "strength"), [("mean", None), ("hull", 0.25), ("cone", 0.1), ("span", 0.3)])
def test_automatic_relaxation_is_near_the_best(name, strength, distance, spread, m):
    case = gaussians(m, distance=distance, spread=spread)
    fixed = [error(projection(name, strength=strength, relaxation=rho / 20), *case) for rho in range(21)]
    found = error(projection(name, strength=strength, relaxation="auto"), *case)
    assert found <= 1.1 * min(fixed)
    assert found <= max(fixed[0], fixed[-1])


@pytest.mark.parametrize(("name", "strength"), [("ball", 0.4), ("hull", 0.25), ("span", 0.3), ("cone", 0.0), ("top_span", 0.5)])
def test_estimated_error_is_right_on_average(name, strength):
    """Over many steps its mean comes to the true one: within four standard errors, and 2 % for what is not affine in v."""
    truth, general, targets = gaussians(4, distance=0.5, spread=2.0, count=2000)
    rule = projection(name, strength=strength, relaxation="auto")
    estimates = []
    rule.auto._averaged = lambda found, blocks: estimates.append(found) or found
    coefficients_of(rule, general, targets)
    distance, covariance, noise = estimates[0].T
    found = distance + 2 * covariance - noise
    true = (update_of(projection(name, strength=strength), general, targets) - truth).square().sum(dim=1)
    gap = found - true
    assert abs(float(gap.mean())) <= 4 * float(gap.std()) / len(gap) ** 0.5 + 0.02 * float(true.mean())


@given(seed=SEEDS, m=st.integers(2, 5), name=st.sampled_from(["hull", "span", "subset", "dual_cone", "ball"]))
@settings(max_examples=30)
def test_estimates_from_explicit_gradients(seed, m, name):
    """D, C and V with every target example left out by hand."""
    generator = torch.Generator().manual_seed(seed)
    general = torch.randn(3, 5, 7, generator=generator, dtype=torch.float64)
    targets = torch.randn(3, m, 7, generator=generator, dtype=torch.float64)
    strength = {"hull": 0.4, "span": 0.2, "subset": 0.5, "dual_cone": 0.0, "ball": 0.3}[name]
    rule, fixed = projection(name, strength=strength, relaxation="auto"), projection(name, strength=strength)
    estimates = []
    rule.auto._averaged = lambda found, blocks: estimates.append(found) or found
    coefficients_of(rule, general, targets)
    mean = targets.mean(dim=1)
    update = update_of(fixed, general, targets)
    covariance = torch.zeros(3, dtype=torch.float64)
    for j in range(m):
        without = torch.cat([targets[:, :j], targets[:, j + 1 :]], dim=1)
        moved = update - update_of(fixed, general, without)
        covariance += (moved * (targets[:, j] - mean)).sum(dim=1) / m
    noise = (targets - mean[:, None]).square().sum(dim=(1, 2)) / (m * (m - 1))
    expected = torch.stack([(update - mean).square().sum(dim=1), covariance, noise], dim=1)
    torch.testing.assert_close(estimates[0], expected, rtol=1e-7, atol=1e-7)


def test_james_and_stein():
    """The ball's automatic strength is V/D, cut at 1."""
    _, general, targets = gaussians(3, distance=0.5, spread=1.0, count=5)
    found = coefficients_of(projection("ball", strength="auto"), general, targets)
    mean = targets.mean(dim=1)
    noise = (targets - mean[:, None]).square().sum(dim=(1, 2)) / 6
    expected = (noise / (general.mean(dim=1) - mean).square().sum(dim=1)).clamp(max=1.0)
    torch.testing.assert_close(found.strength, expected, rtol=1e-9, atol=0.0)
    torch.testing.assert_close(found.target, 1 - expected, rtol=1e-9, atol=0.0)
    assert found.relaxation is None


def test_target_examples_that_agree_are_followed():
    _, general, targets = gaussians(3, distance=0.5, spread=1.0, count=2)
    same = targets[:, :1].expand(-1, 3, -1)
    for name in ("ball", "span"):
        found = coefficients_of(projection(name, strength="auto"), general, same)
        assert float(found.strength.max()) < 1e-9
    relaxed = coefficients_of(projection("hull", strength=0.5, relaxation="auto"), general, same)
    torch.testing.assert_close(relaxed.relaxation, torch.ones(2, dtype=torch.float64))


def test_both_dials_are_chosen_together():
    """Never worse in estimate than either alone, and each block has its own."""
    _, general, targets = gaussians(4, distance=0.1, spread=2.0, count=6)
    found = coefficients_of(projection("hull", strength="auto", relaxation="auto"), general, targets)
    assert found.strength.shape == found.relaxation.shape == (6,)
    assert set(found.strength.tolist()) <= set(SETS["hull"].auto_grid)
    assert ((found.relaxation >= 0) & (found.relaxation <= 1)).all()
    assert found.solved.is_converged.all()


def test_past_steps_are_remembered_and_travel_in_a_checkpoint():
    _, general, targets = gaussians(2, distance=0.5, spread=2.0, count=6)
    steps = [(general[i : i + 1], targets[i : i + 1]) for i in range(6)]
    rule = projection("ball", strength="auto", auto_memory=0.9)
    strengths = [float(coefficients_of(rule, *step, blocks=[7]).strength) for step in steps]
    alone = [float(coefficients_of(projection("ball", strength="auto"), *step).strength) for step in steps]
    assert strengths[0] == alone[0]
    assert max(strengths) - min(strengths) < max(alone) - min(alone)
    resumed = projection("ball", strength="auto", auto_memory=0.9)
    for step in steps[:3]:
        coefficients_of(resumed, *step, blocks=[7])
    other = projection("ball", strength="auto", auto_memory=0.9)
    other.auto.load_state_dict(resumed.auto.state_dict())
    assert [float(coefficients_of(other, *step, blocks=[7]).strength) for step in steps[3:]] == strengths[3:]


@pytest.mark.parametrize("name", ["ball", "hull", "subset"])
def test_a_step_that_is_not_finite_leaves_no_trace(name):
    _, general, targets = gaussians(2, distance=0.5, spread=2.0, count=2)
    rule = projection(name, strength="auto", auto_memory=0.9)
    coefficients_of(rule, general[:1], targets[:1], blocks=[0])
    before = rule.auto.state_dict()["0"].clone()
    broken = general[1:].clone()
    broken[0, 0, 0] = float("nan")
    with pytest.raises(NonFiniteProductsError, match="NaN or infinite"):
        coefficients_of(rule, broken, targets[1:], blocks=[0])
    assert torch.equal(rule.auto.state_dict()["0"], before)


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize(("name", "strength"), [("subset", 0.5), ("hull", 0.25)])
def test_covariance_of_any_rule_is_that_of_one_example_less(name, strength, m):
    """The mean of the leave-one-out estimate is (m−1)/m of Cov(u, v) with m − 1 target examples, smooth or not."""
    truth, general, targets = gaussians(m, distance=0.5, spread=1.0, count=3000)
    rule = projection(name, strength=strength, relaxation="auto")
    estimates = []
    rule.auto._averaged = lambda found, blocks: estimates.append(found) or found
    coefficients_of(rule, general, targets)
    fewer = targets[:, : m - 1]
    noise = fewer.mean(dim=1) - truth
    expected = (update_of(projection(name, strength=strength), general, fewer) * noise).sum(dim=1) * (m - 1) / m
    gap = estimates[0][:, 1] - expected
    assert abs(float(gap.mean())) <= 4 * float(gap.std()) / len(gap) ** 0.5


def test_one_target_example_has_no_spread():
    _, general, targets = gaussians(1, distance=0.5, spread=2.0, count=1)
    with pytest.raises(ValueError, match="at least two target examples"):
        coefficients_of(projection("ball", strength="auto"), general, targets)


def test_risk_by_hand():
    share, risk = estimated_risk(torch.tensor([[4.0]]), torch.tensor([[0.5]]), torch.tensor([[1.5]]), relaxation=None)
    assert share.tolist() == [[0.25]]  # (1.5 − 0.5)/4
    assert risk.tolist() == [[0.0625 * 4.0 - 2 * 0.25 * 1.0 + 1.5]]
    share, risk = estimated_risk(torch.tensor([[4.0]]), torch.tensor([[0.5]]), torch.tensor([[1.5]]), relaxation=0.0)
    assert risk.tolist() == [[4.0 - 2.0 + 1.5]]
