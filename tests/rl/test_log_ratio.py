"""Every ratio of probabilities is bounded: losses, estimates and gradients are finite however far two models are apart."""

import math
from dataclasses import replace

import pytest
import torch

from drpt.objectives.policy import ResponseTokens
from drpt.rl.choices import KlEstimator, KlGradient, TargetObjective
from drpt.rl.grpo import PolicyRows, PolicyTerms, engine_weights, policy_losses
from drpt.rl.kl import k3, kl_estimate, weighted_k3
from drpt.rl.log_ratio import is_cut, ratio_of
from drpt.rl.policy_statistics import policy_statistics
from drpt.rl.ppo import ValueRows, ValueTerms, ppo_losses
from drpt.rl.target_objectives import TargetRows, target_losses

PLAIN = PolicyTerms(clip_low=0.2, clip_high=0.2, importance_cap=None, kl_coefficient=0.0, kl_gradient=KlGradient.K3)
MASK = torch.tensor([[False, True]])
LARGEST = math.exp(20)


def rows_of(log_ratio, advantage, **others):
    """One token of log-probability −1."""
    return PolicyRows(
        old_logprobs=torch.tensor([[0.0, -1.0 - log_ratio]]),
        advantages=torch.tensor([advantage]),
        response_mask=MASK,
        **{name: torch.tensor([[0.0, value]]) for name, value in others.items()},
    )


def loss_and_slope(log_ratio, advantage, terms=PLAIN, **others):
    logprobs = torch.tensor([[0.0, -1.0]], requires_grad=True)
    losses = policy_losses(logprobs, rows_of(log_ratio, advantage, **others), terms)
    losses.sum().backward()
    return float(losses.detach()), float(logprobs.grad[0, 1])


@pytest.mark.parametrize(
    ("log_ratio", "advantage", "loss"),
    [
        (199.0, -1.0, LARGEST),  # was infinite, and so was its gradient
        (199.0, 0.0, 0.0),  # was NaN
        (199.0, 1.0, -1.2),  # was −1.2, with a gradient of NaN
        (1e30, -2.0, 2 * LARGEST),
        (-199.0, 1.0, -1 / LARGEST),
        (-199.0, -1.0, 0.8),
        (-1e30, 0.0, 0.0),
    ],
)
@pytest.mark.parametrize("high", [0.2, 0.28])
def test_a_token_beyond_the_bound_counts_with_it_and_has_no_gradient(log_ratio, advantage, loss, high):
    loss = -1 - high if loss == -1.2 else loss
    found = loss_and_slope(log_ratio, advantage, replace(PLAIN, clip_high=high))
    assert found == pytest.approx((loss, 0.0), rel=1e-5)


def test_within_the_bound_nothing_changes():
    assert loss_and_slope(19.9, -1.0) == pytest.approx((math.exp(19.9),) * 2, rel=1e-5)
    assert loss_and_slope(-19.9, 1.0) == pytest.approx((-math.exp(-19.9),) * 2, rel=1e-5)


@pytest.mark.parametrize("gradient", KlGradient)
@pytest.mark.parametrize("log_ratio", [0.0, 199.0, -199.0])
@pytest.mark.parametrize("towards", [199.0, 50.0, 21.0])
def test_a_reference_that_is_far_above_has_a_finite_penalty_without_gradient(gradient, log_ratio, towards):
    terms = replace(PLAIN, kl_coefficient=0.1, kl_gradient=gradient)
    loss, slope = loss_and_slope(log_ratio, 0.0, terms, reference_logprobs=-1.0 + towards)
    ratio = math.exp(min(max(log_ratio, -20), 20))
    assert loss == pytest.approx(0.1 * ratio * (LARGEST - 21), rel=1e-5)
    assert slope == 0


@pytest.mark.parametrize(("gradient", "slope"), [(KlGradient.K3, 0.1), (KlGradient.RATIO_K3, 0.1 * 199)])
def test_a_reference_that_is_far_below_pulls_the_policy_back(gradient, slope):
    """k3 is −d − 1 there and never overflows: cutting it would let the policy stay where it is."""
    terms = replace(PLAIN, kl_coefficient=0.1, kl_gradient=gradient)
    assert loss_and_slope(0.0, 0.0, terms, reference_logprobs=-200.0) == pytest.approx((0.1 * 198, slope), rel=1e-5)


def test_a_penalty_through_both_factors_keeps_its_slope_in_float32():
    """−ρ d; as a sum of two numbers of the size of e^18 it would be off by more than itself."""
    log_ratio = torch.zeros(1, 1, requires_grad=True)
    weighted_k3(log_ratio, torch.tensor([[18.0]]) - log_ratio, KlGradient.RATIO_K3).sum().backward()
    assert float(log_ratio.grad) == pytest.approx(-18, rel=1e-6)


@pytest.mark.parametrize("cap", [2.0, 1e30])
def test_weights_between_engine_and_trainer_are_bounded(cap):
    rows = PolicyRows(
        old_logprobs=torch.tensor([[0.0, 0.0]]),
        advantages=torch.tensor([1.0]),
        response_mask=MASK,
        engine_logprobs=torch.tensor([[0.0, -199.0]]),
    )
    assert float(engine_weights(rows, cap)[0, 1]) == pytest.approx(min(cap, LARGEST), rel=1e-5)


@pytest.mark.parametrize("objective", [TargetObjective.TRAIN_LOSS, TargetObjective.TRAIN_LOSS_PRECLIP])
@pytest.mark.parametrize("advantage", [1.0, 0.0, -1.0])
def test_target_objectives_are_bounded(objective, advantage):
    logprobs = torch.tensor([[0.0, -1.0]], requires_grad=True)
    losses = target_losses(objective, logprobs, TargetRows(policy=rows_of(199.0, advantage), rewards=torch.ones(1)), PLAIN)
    losses.sum().backward()
    assert abs(float(losses.detach())) <= 1.001 * LARGEST
    assert not logprobs.grad.any()


def test_ppo_is_bounded():
    logprobs = torch.tensor([[0.0, -1.0]], requires_grad=True)
    value = ValueRows(old_values=torch.zeros(1, 2), returns=torch.zeros(1, 2))
    terms = ValueTerms(value_coefficient=0.1, value_clip=0.2, entropy_coefficient=0.0)
    tokens = ResponseTokens(logprobs=logprobs, entropies=torch.zeros(1, 2))
    losses = ppo_losses(tokens, torch.zeros(1, 2), rows_of(199.0, -1.0), value, PLAIN, terms)
    losses.sum().backward()
    assert float(losses.detach()) == pytest.approx(LARGEST, rel=1e-5)
    assert not logprobs.grad.any()


@pytest.mark.parametrize("estimator", KlEstimator)
def test_estimates_of_the_divergence_are_finite(estimator):
    found = kl_estimate(torch.tensor([[-199.0, 199.0, -1e10, 0.0]]), estimator)
    assert bool(found.isfinite().all())
    if estimator is KlEstimator.K3:
        assert found[0].tolist() == pytest.approx([LARGEST - 21, 198, LARGEST - 21, 0], rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_sides_of_the_bound(dtype):
    log_ratio = torch.tensor([[-math.inf, -21.0, -20.0, 0.0, 20.0, 21.0, math.inf]], dtype=dtype, requires_grad=True)
    ratio = ratio_of(log_ratio)
    ratio.sum().backward()
    assert ratio[0].tolist() == pytest.approx([1 / LARGEST] * 3 + [1] + [LARGEST] * 3, rel=1e-5)
    assert (log_ratio.grad[0] != 0).tolist() == [False, False, True, True, True, False, False]
    assert is_cut(log_ratio)[0].tolist() == [True, True, False, False, False, True, True]
    assert bool(k3(log_ratio[:, 1:]).isfinite().all())


def test_what_is_no_number_stays_none():
    """It must reach the loss, which is looked at before an update."""
    assert bool(ratio_of(torch.tensor([[math.nan]])).isnan().all())


@pytest.mark.parametrize(
    ("log_ratio", "others", "cap", "share"),
    [
        (0.0, {}, None, 0.0),
        (199.0, {}, None, 1.0),
        (-21.0, {}, None, 1.0),
        (0.0, {"reference_logprobs": 30.0}, None, 1.0),
        (0.0, {"reference_logprobs": -30.0}, None, 0.0),
        (0.0, {"engine_logprobs": -30.0}, 2.0, 1.0),
        (0.0, {"engine_logprobs": -30.0}, None, 0.0),  # no weight, nothing to cut
    ],
)
def test_what_is_cut_is_counted(log_ratio, others, cap, share):
    tokens = ResponseTokens(logprobs=torch.tensor([[0.0, -1.0]]), entropies=torch.zeros(1, 2))
    means = policy_statistics(tokens, rows_of(log_ratio, 1.0, **others), replace(PLAIN, importance_cap=cap)).means()
    assert means["log_ratio_cut"] == share
    assert all(map(math.isfinite, means.values()))
