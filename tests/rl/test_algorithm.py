"""Which parts an algorithm has, and when it leaves a phase."""

from dataclasses import replace

import pytest
import torch

from drpt.rl.advantage_estimator import GroupAdvantageEstimator, ValueAdvantageEstimator
from drpt.rl.algorithm import build_algorithm
from drpt.rl.policy_statistics import PolicyStatistics
from drpt.rl.ppo_loss import PpoLoss
from tests.rl.test_advantage_estimator import spec as ppo_spec
from tests.rl.test_algorithm_spec import spec as group_spec

LIMITS = {"temperature": 1.0, "max_tokens": 8, "pad_token_id": 0}


def test_ppo_has_a_value_function_and_its_loss():
    algorithm = build_algorithm(ppo_spec(), **LIMITS)
    assert isinstance(algorithm.estimator, ValueAdvantageEstimator)
    assert isinstance(algorithm.loss, PpoLoss)
    assert (algorithm.has_value_function, algorithm.value_lr) == (True, 5e-4)


def test_group_relative_algorithms_have_none():
    algorithm = build_algorithm(group_spec(), **LIMITS)
    assert isinstance(algorithm.estimator, GroupAdvantageEstimator)
    assert not isinstance(algorithm.loss, PpoLoss)
    assert not algorithm.has_value_function


@pytest.mark.parametrize(("bound", "ends"), [(None, False), (0.2, True), (0.3, False)])
def test_a_phase_ends_where_the_policy_has_gone_too_far(bound, ends):
    spec = ppo_spec(kl=replace(ppo_spec().kl, stop=bound))
    sums = {"tokens": torch.tensor(4.0), "kl_old": torch.tensor(1.0)}
    assert build_algorithm(spec, **LIMITS).ends_phase(PolicyStatistics(sums=sums)) is ends


def test_other_specifications_are_refused():
    with pytest.raises(TypeError, match="algorithm of kind object: take GroupAlgorithmSpec or PpoSpec, or build an Algorithm"):
        build_algorithm(object(), **LIMITS)
