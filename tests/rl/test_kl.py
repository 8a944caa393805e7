import math

import pytest
import torch

from drpt.rl.choices import KlEstimator, KlGradient
from drpt.rl.kl import k3, kl_estimate, weighted_k3


def kl(p, q):
    return (p * (p.log() - q.log())).sum()


def distributions():
    """A policy over four tokens, the one that drew them, and a reference, all different."""
    policy = torch.randn(4, dtype=torch.float64, requires_grad=True)
    old, ref = torch.randn(4, dtype=torch.float64).softmax(0), torch.randn(4, dtype=torch.float64).softmax(0)
    return policy, old, ref


def expected_penalty(policy, old, ref, gradient):
    """``E_old[ρ k3]``, every token in its turn weighted by the probability that it was drawn with."""
    logprobs = policy.log_softmax(0)
    penalty = weighted_k3((logprobs - old.log())[None], (ref.log() - logprobs)[None], gradient)
    return (old * penalty[0]).sum()


def test_worked_value():
    """d = log 2: 2 − log 2 − 1; d = 0: 0; d = −log 2: 1/2 + log 2 − 1."""
    found = k3(torch.tensor([[math.log(2), 0.0, -math.log(2)]], dtype=torch.float64))
    expected = torch.tensor([[1 - math.log(2), 0.0, math.log(2) - 0.5]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_never_negative(dtype):
    scales = 10.0 ** torch.arange(-12, 2, dtype=dtype)
    assert bool((k3(torch.randn(1000, len(scales), dtype=dtype) * scales) >= 0).all())


def test_small_differences_survive_float32():
    """d = 1e-3: d²/2 + d³/6."""
    assert math.isclose(float(k3(torch.tensor([[1e-3]]))), 5.001667e-7, rel_tol=1e-3)  # float32 keeps three digits of it


def test_small_gradients_survive_float32():
    log_ratio = torch.tensor([[1e-3]], requires_grad=True)
    k3(log_ratio).sum().backward()
    assert math.isclose(float(log_ratio.grad), math.expm1(1e-3), rel_tol=1e-4)


def test_expectation_is_the_divergence():
    policy, _, ref = distributions()
    p = policy.detach().softmax(0)
    torch.testing.assert_close((p * k3((ref.log() - p.log())[None])[0]).sum(), kl(p, ref), rtol=1e-10, atol=0)


@pytest.mark.parametrize("is_on_policy", [True, False])
@pytest.mark.parametrize("gradient", KlGradient)
def test_value_is_unbiased_on_and_off_policy(gradient, is_on_policy):
    policy, old, ref = distributions()
    drawn = policy.detach().softmax(0) if is_on_policy else old
    found = expected_penalty(policy, drawn, ref, gradient).detach()
    torch.testing.assert_close(found, kl(policy.detach().softmax(0), ref), rtol=1e-10, atol=0)


@pytest.mark.parametrize("is_on_policy", [True, False])
def test_gradient_through_both_is_that_of_the_divergence_from_policy_to_reference(is_on_policy):
    policy, old, ref = distributions()
    drawn = policy.detach().softmax(0) if is_on_policy else old
    (found,) = torch.autograd.grad(expected_penalty(policy, drawn, ref, KlGradient.RATIO_K3), policy)
    (expected,) = torch.autograd.grad(kl(policy.softmax(0), ref), policy)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("is_on_policy", [True, False])
def test_gradient_through_k3_is_that_of_the_divergence_from_reference_to_policy(is_on_policy):
    policy, old, ref = distributions()
    drawn = policy.detach().softmax(0) if is_on_policy else old
    (found,) = torch.autograd.grad(expected_penalty(policy, drawn, ref, KlGradient.K3), policy)
    (expected,) = torch.autograd.grad(kl(ref, policy.softmax(0)), policy)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    (other,) = torch.autograd.grad(kl(policy.softmax(0), ref), policy)
    assert float((found - other).norm()) > 0.05 * float(other.norm())  # the two are not one


def test_unweighted_k3_is_biased_off_policy():
    policy, old, ref = distributions()
    p = policy.detach().softmax(0)
    unweighted = (old * k3((ref.log() - p.log())[None])[0]).sum()
    assert abs(float(unweighted - kl(p, ref))) > 0.05 * float(kl(p, ref))


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [("k1", math.log(2)), ("k2", math.log(2) ** 2 / 2), ("k3", 0.5 - 1 + math.log(2))],
)
def test_estimates_at_a_token_twice_as_likely_as_in_the_reference(estimator, expected):
    log_ratio = torch.full((1, 1), math.log(2), dtype=torch.float64)
    assert float(kl_estimate(log_ratio, KlEstimator(estimator))) == pytest.approx(expected, rel=1e-12)


def test_k1_and_k3_are_unbiased_and_k2_is_not():
    """Exact expectations over a vocabulary of four."""
    policy, ref = (torch.tensor(p, dtype=torch.float64) for p in ([0.5, 0.2, 0.2, 0.1], [0.25, 0.25, 0.3, 0.2]))
    log_ratio = (policy / ref).log()[None]
    true = float((policy * log_ratio[0]).sum())
    means = {kind: float((policy * kl_estimate(log_ratio, kind)[0]).sum()) for kind in KlEstimator}
    assert means["k1"] == pytest.approx(true, rel=1e-12)
    assert means["k3"] == pytest.approx(true, rel=1e-12)
    assert means["k2"] == pytest.approx(true, rel=0.1)
    assert means["k2"] != pytest.approx(true, rel=1e-3)
