import math

import pytest
import torch

from drpt.rl.choices import Advantage
from drpt.rl.group_advantages import group_advantages, has_signal, pool_normalised
from tests.reference import grpo as reference


def close(found, expected, rtol=1e-12, atol=1e-14):
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=rtol, atol=atol)


def test_worked_values():
    """Rewards 1, 0, 0, 0: mean 1/4, Σ(r − mean)² = 9/16 + 3/16 = 3/4, s = √(3/4 / 3) = 1/2.

    So std gives 3/2 and −1/2 (up to ε), mean 3/4 and −1/4; rloo 1 − 0 and 0 − 1/3.
    """
    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    close(group_advantages(rewards, Advantage.STD), [[1.5, -0.5, -0.5, -0.5]], rtol=3e-6)  # ε = 1e-6 beside s = 1/2
    close(group_advantages(rewards, Advantage.MEAN), [[0.75, -0.25, -0.25, -0.25]])
    close(group_advantages(rewards, Advantage.RLOO), [[1.0, -1 / 3, -1 / 3, -1 / 3]])


@pytest.mark.parametrize("kind", Advantage)
def test_equals_the_loops(kind):
    rewards = torch.randn(5, 3, dtype=torch.float64)
    rewards[2] = 0.1  # whose mean is not exactly 0.1
    close(group_advantages(rewards, kind), reference.group_advantages(rewards.tolist(), kind.value))


@pytest.mark.parametrize("kind", Advantage)
def test_a_constant_added_to_a_group_changes_nothing(kind):
    rewards = torch.randn(4, 6, dtype=torch.float64)
    shifted = rewards + torch.tensor([[3.0], [-2.0], [0.5], [100.0]], dtype=torch.float64)
    found = group_advantages(shifted, kind)
    torch.testing.assert_close(found, group_advantages(rewards, kind), rtol=1e-9, atol=1e-12)  # 100 costs two digits
    torch.testing.assert_close(found.sum(dim=1), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-12)


def test_std_does_not_depend_on_the_unit_of_the_rewards():
    rewards = torch.randn(4, 6, dtype=torch.float64)
    found = group_advantages(50 * rewards, Advantage.STD)
    torch.testing.assert_close(found, group_advantages(rewards, Advantage.STD), rtol=1e-5, atol=0)  # ε


@pytest.mark.parametrize("kind", Advantage)
@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_equal_rewards_give_exactly_nothing(kind, value):
    rewards = torch.full((2, 7), value)  # float32, where the mean of equal numbers is not always that number
    assert not has_signal(rewards).any()
    assert not group_advantages(rewards, kind).any()


def test_signal():
    rewards = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.5, 0.5, 0.500001]])
    assert has_signal(rewards).tolist() == [False, False, True, True]


@pytest.mark.parametrize("kind", Advantage)
def test_groups_of_one_response_are_refused(kind):
    with pytest.raises(ValueError, match=r"rollout.num_responses=1 must be at least 2"):
        group_advantages(torch.zeros(3, 1), kind)


def test_no_group_at_all():
    assert group_advantages(torch.zeros(0, 4), Advantage.STD).shape == (0, 4)


def test_pool_worked_value():
    """Rewards 0, 0, 3: mean 1, s² = (1 + 1 + 4) / 2 = 3."""
    root = math.sqrt(3)
    close(pool_normalised(torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64)), [-1 / root, -1 / root, 2 / root])


@pytest.mark.parametrize(("rewards", "expected"), [([1.0, 1.0], [0.5, 0.5]), ([0.0] * 3, [-0.5] * 3), ([0.9], [0.4])])
def test_pool_without_variance_falls_back(rewards, expected):
    close(pool_normalised(torch.tensor(rewards, dtype=torch.float64)), expected)


def test_pool_equals_the_loops():
    rewards = torch.randn(9, dtype=torch.float64)
    close(pool_normalised(rewards), reference.pool_normalised(rewards.tolist()))
