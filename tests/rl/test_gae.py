"""Advantages of tokens: against sums written out, worked values, and what holds at both ends of λ."""

import math

import pytest
import torch

from drpt.rl.gae import explained_variance, generalized_advantages, token_rewards, whitened
from tests.reference import ppo as reference

LENGTHS = (3, 1, 0, 5)


@pytest.fixture
def mask():
    """Responses after prompts of different lengths, one of them empty."""
    mask = torch.zeros(len(LENGTHS), 8, dtype=torch.bool)
    for row, (start, length) in enumerate(zip((2, 4, 3, 1), LENGTHS, strict=True)):
        mask[row, start : start + length] = True
    return mask


def numbers(mask, seed):
    values = torch.randn(mask.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.where(mask, values, math.nan)  # what is outside may be anything


def rows(values, mask):
    return [row[own].tolist() for row, own in zip(values, mask, strict=True)]


def close(found, expected):
    assert [pytest.approx(row, rel=1e-12, abs=1e-12) for row in expected] == found


def test_a_score_comes_with_the_last_token_and_penalties_with_each(mask):
    scores, penalties = torch.tensor([1.0, -2.0, 3.0, 0.5], dtype=torch.float64), numbers(mask, 0)
    found = token_rewards(scores, penalties, mask)
    expected = [reference.token_rewards(score, row) for score, row in zip(scores.tolist(), rows(penalties, mask), strict=True)]
    close(rows(found, mask), expected)
    assert not found[~mask].any()


@pytest.mark.parametrize(("discount", "gae_lambda"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.99, 0.0), (0.0, 0.7)])
def test_advantages_are_the_sum_of_the_definition(mask, discount, gae_lambda):
    rewards = torch.where(mask, numbers(mask, 1), 0.0)
    values = numbers(mask, 2)
    found = generalized_advantages(rewards, values, mask, discount=discount, gae_lambda=gae_lambda)
    pairs = zip(rows(rewards, mask), rows(values, mask), strict=True)
    close(rows(found, mask), [reference.advantages(r, v, discount, gae_lambda) for r, v in pairs])
    assert not found[~mask].any()


def test_worked_example():
    """V = (1, 2), r = (0, 3), γ = λ = ½: δ₂ = 3 − 2 = 1, δ₁ = 0 + ½·2 − 1 = 0; A₂ = 1, A₁ = 0 + ¼·1."""
    mask = torch.tensor([[False, True, True]])
    found = generalized_advantages(
        torch.tensor([[0.0, 0.0, 3.0]]), torch.tensor([[9.0, 1.0, 2.0]]), mask, discount=0.5, gae_lambda=0.5
    )
    assert found.tolist() == [[0.0, 0.25, 1.0]]


def test_at_decay_1_returns_are_the_rewards_to_come_and_at_0_one_step(mask):
    rewards, values = torch.where(mask, numbers(mask, 3), 0.0), torch.where(mask, numbers(mask, 4), 0.0)
    whole = generalized_advantages(rewards, values, mask, discount=0.9, gae_lambda=1.0) + values
    close(rows(whole, mask), [reference.discounted_sum(row, 0.9) for row in rows(rewards, mask)])
    step = generalized_advantages(rewards, values, mask, discount=0.9, gae_lambda=0.0) + values
    expected = [
        [r[t] + 0.9 * (v[t + 1] if t + 1 < len(v) else 0.0) for t in range(len(r))]
        for r, v in zip(rows(rewards, mask), rows(values, mask), strict=True)
    ]
    close(rows(step, mask), expected)


def test_true_values_leave_no_advantage(mask):
    rewards = torch.where(mask, numbers(mask, 5), 0.0)
    values = torch.zeros_like(rewards)
    for row, own in enumerate(mask):
        values[row, own] = torch.tensor(reference.discounted_sum(rewards[row, own].tolist(), 0.9), dtype=torch.float64)
    found = generalized_advantages(rewards, values, mask, discount=0.9, gae_lambda=0.8)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shifts", [True, False])
def test_whitening_counts_all_tokens_alike(mask, shifts):
    values = numbers(mask, 6)
    found = whitened(values, mask, shifts=shifts)
    close(rows(found, mask), reference.whitened(rows(values, mask), shifts))
    assert float(found[mask].std()) == pytest.approx(1, rel=1e-6)  # ε = 1e-8 in the variance
    assert float(found[mask].mean()) == pytest.approx(0.0 if shifts else float(values[mask].mean()), abs=1e-12)


def test_one_token_is_left_as_it_is():
    mask = torch.tensor([[False, True]])
    assert whitened(torch.tensor([[math.nan, 3.0]]), mask, shifts=True).tolist() == [[0.0, 3.0]]


def test_explained_variance(mask):
    returns = numbers(mask, 7)
    assert explained_variance(returns, returns, mask) == 1.0
    assert explained_variance(returns + 5, returns, mask) == pytest.approx(1.0)  # a constant is not what is explained
    assert explained_variance(torch.zeros_like(returns), returns, mask) == pytest.approx(0.0, abs=1e-12)
    assert explained_variance(-returns, returns, mask) == pytest.approx(-3.0)
    assert math.isnan(explained_variance(returns, torch.ones_like(returns), mask))
