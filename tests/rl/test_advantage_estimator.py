"""From rewards to advantages: against loops over responses and tokens."""

from dataclasses import replace

import pytest
import torch

from drpt.rl.advantage_estimator import ValueAdvantageEstimator
from drpt.rl.algorithm_spec import TargetObjectiveSpec
from drpt.rl.ppo_spec import KlSpec, PpoSpec, ScoreSpec, ValueSpec
from drpt.rl.trajectory import Trajectory
from tests.reference import ppo as reference


def spec(**changes):
    plain = {
        "name": "ppo", "normalisation": "token", "clip_low": 0.2, "clip_high": 0.2, "epochs": 4, "old_logprobs": "trainer",
        "importance_cap": None, "discount": 0.9, "gae_lambda": 0.8, "whiten_rewards": False, "whiten_advantages": False,
        "entropy_coefficient": 0.0,
        "kl": KlSpec(control="adaptive", coefficient=0.3, target=2.0, horizon=100.0, estimator="k1", stop=None),
        "value": ValueSpec(coefficient=0.1, clip=0.2, lr=5e-4),
        "score": ScoreSpec(scaling="none", clip=None),
        "target": TargetObjectiveSpec(source="self", objective="reward", refresh_steps=1),
    }  # fmt: skip
    return PpoSpec(**(plain | changes))


def trajectories(seed=0, *, has_reference=True):
    random = torch.Generator().manual_seed(seed)
    lengths = [3, 1, 5]

    def rows():
        return [torch.randn(length, generator=random, dtype=torch.float64).tolist() for length in lengths]

    columns = zip(lengths, [1.0, -0.5, 2.0], rows(), rows() if has_reference else [[]] * 3, rows(), strict=True)
    return [
        Trajectory(
            prompt=[1],
            response=list(range(length)),
            group=group,
            reward=reward,
            old_logprobs=old,
            reference_logprobs=of_reference,
            values=values,
        )
        for group, (length, reward, old, of_reference, values) in enumerate(columns)
    ]


def by_hand(given, coefficient, scores):
    found = []
    for one, score in zip(given, scores, strict=True):
        of_reference = one.reference_logprobs or one.old_logprobs
        penalties = [coefficient * (p - q) for p, q in zip(one.old_logprobs, of_reference, strict=True)]
        found.append(reference.advantages(reference.token_rewards(score, penalties), one.values, 0.9, 0.8))
    return found


def advantages(given):
    return [one.advantages for one in given]


def returns(given):
    return [one.returns for one in given]


def close(found, expected):
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("has_reference", [True, False])
def test_advantages_and_returns_are_those_of_the_loops(has_reference):
    given = trajectories(has_reference=has_reference)
    figures = ValueAdvantageEstimator(spec())(given, is_target=False)
    expected = by_hand(given, 0.3, [one.reward for one in given])
    close(advantages(given), expected)
    sums = [[a + v for a, v in zip(*pair, strict=True)] for pair in zip(expected, [one.values for one in given], strict=True)]
    close(returns(given), sums)
    assert ("kl_response/mean" in figures) == has_reference


def test_whitening_leaves_returns_alone():
    plain, white = trajectories(), trajectories()
    ValueAdvantageEstimator(spec())(plain, is_target=False)
    ValueAdvantageEstimator(spec(whiten_advantages=True))(white, is_target=False)
    close(advantages(white), reference.whitened(advantages(plain), shifts=True))
    close(returns(white), returns(plain))


def test_the_coefficient_moves_between_phases_and_not_for_target_responses():
    estimator, given = ValueAdvantageEstimator(spec()), trajectories()
    figures = estimator(given, is_target=False)
    target = trajectories(1)
    assert estimator(target, is_target=True)["kl_coefficient/value"] == 0.3
    estimator.end_phase()
    total = sum(sum(one.old_logprobs) - sum(one.reference_logprobs) for one in given) / 3
    assert figures["kl_response/mean"] == pytest.approx(total, rel=1e-12)
    moved = 0.3 * (1 + max(-0.2, min(0.2, total / 2 - 1)) * 3 / 100)
    assert estimator(trajectories(), is_target=False)["kl_coefficient/value"] == pytest.approx(moved, rel=1e-12)
    again = ValueAdvantageEstimator(spec())
    again.load_state_dict(estimator.state_dict())
    assert again.state_dict() == estimator.state_dict()


def test_scores_are_scaled_by_all_training_scores_so_far_and_cut():
    estimator = ValueAdvantageEstimator(spec(score=ScoreSpec(scaling="standard", clip=0.6)))
    given = trajectories(has_reference=False)
    estimator(given, is_target=False)
    # mean 5/6, standard deviation 1.2583…: (0.1325, −1.0596, 0.9272), cut at ±0.6.
    cut = by_hand(given, 0.0, [(1 - 5 / 6) / 1.2583057392117916, -0.6, 0.6])
    close(advantages(given), cut)
    target = trajectories(has_reference=False)
    for one in target:
        one.reward = 100.0
    estimator(target, is_target=True)
    close(advantages(target), by_hand(target, 0.0, [0.6, 0.6, 0.6]))
    assert estimator.state_dict()["moments"][0] == 3, "target responses teach nothing"


def test_a_reference_is_needed_where_a_nat_costs_something():
    assert spec().needs_reference
    kl = replace(spec().kl, control="fixed", coefficient=0.0, target=None, horizon=None)
    assert not spec(kl=kl).needs_reference
