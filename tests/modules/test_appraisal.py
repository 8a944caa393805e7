"""From rewards to advantages: against loops over responses and tokens."""

from dataclasses import replace

import pytest
import torch

from drpt.modules.algorithm_spec import TargetObjectiveSpec
from drpt.modules.appraisal import ValueAppraisal
from drpt.modules.experience import Experience
from drpt.modules.ppo_spec import KlSpec, PpoSpec, ScoreSpec, ValueSpec
from tests.reference import ppo as reference


def spec(**changes):
    plain = {
        "name": "ppo", "normalisation": "token", "clip_low": 0.2, "clip_high": 0.2, "epochs": 4, "old_logprobs": "trainer",
        "importance_cap": None, "discount": 0.9, "decay": 0.8, "whiten_rewards": False, "whiten_advantages": False,
        "entropy_coefficient": 0.0,
        "kl": KlSpec(control="adaptive", coefficient=0.3, target=2.0, horizon=100.0, estimator="k1", stop=None),
        "value": ValueSpec(coefficient=0.1, clip=0.2, lr=5e-4),
        "score": ScoreSpec(scaling="none", clip=None),
        "target": TargetObjectiveSpec(source="self", objective="reward", refresh_steps=1),
    }  # fmt: skip
    return PpoSpec(**(plain | changes))


def experience(seed=0, *, has_reference=True):
    random = torch.Generator().manual_seed(seed)
    lengths = [3, 1, 5]

    def rows():
        return [torch.randn(length, generator=random, dtype=torch.float64).tolist() for length in lengths]

    return Experience(
        prompts=[[1]] * 3,
        responses=[list(range(length)) for length in lengths],
        groups=[0, 1, 2],
        rewards=[1.0, -0.5, 2.0],
        old_logprobs=rows(),
        reference_logprobs=rows() if has_reference else [],
        values=rows(),
    )


def by_hand(given, coefficient, scores):
    found = []
    for row in range(3):
        reference_row = given.reference_logprobs[row] if given.reference_logprobs else given.old_logprobs[row]
        penalties = [coefficient * (p - q) for p, q in zip(given.old_logprobs[row], reference_row, strict=True)]
        rewards = reference.token_rewards(scores[row], penalties)
        found.append(reference.advantages(rewards, given.values[row], 0.9, 0.8))
    return found


def close(found, expected):
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("has_reference", [True, False])
def test_advantages_and_returns_are_those_of_the_loops(has_reference):
    given = experience(has_reference=has_reference)
    figures = ValueAppraisal(spec())(given, is_target=False)
    expected = by_hand(given, 0.3, given.rewards)
    close(given.token_advantages, expected)
    sums = [[a + v for a, v in zip(*pair, strict=True)] for pair in zip(expected, given.values, strict=True)]
    close(given.returns, sums)
    assert ("kl_response/mean" in figures) == has_reference


def test_whitening_leaves_returns_alone():
    plain, white = experience(), experience()
    ValueAppraisal(spec())(plain, is_target=False)
    ValueAppraisal(spec(whiten_advantages=True))(white, is_target=False)
    close(white.token_advantages, reference.whitened(plain.token_advantages, shifts=True))
    close(white.returns, plain.returns)


def test_the_coefficient_moves_between_phases_and_not_for_target_responses():
    appraisal, given = ValueAppraisal(spec()), experience()
    figures = appraisal(given, is_target=False)
    target = experience(1)
    assert appraisal(target, is_target=True)["kl_coefficient/value"] == 0.3
    appraisal.end_phase()
    total = sum(sum(p) - sum(q) for p, q in zip(given.old_logprobs, given.reference_logprobs, strict=True)) / 3
    assert figures["kl_response/mean"] == pytest.approx(total, rel=1e-12)
    moved = 0.3 * (1 + max(-0.2, min(0.2, total / 2 - 1)) * 3 / 100)
    assert appraisal(experience(), is_target=False)["kl_coefficient/value"] == pytest.approx(moved, rel=1e-12)
    again = ValueAppraisal(spec())
    again.load_state_dict(appraisal.state_dict())
    assert again.state_dict() == appraisal.state_dict()


def test_scores_are_scaled_by_all_training_scores_so_far_and_cut():
    appraisal = ValueAppraisal(spec(score=ScoreSpec(scaling="standard", clip=0.6)))
    given = experience(has_reference=False)
    appraisal(given, is_target=False)
    # mean 5/6, standard deviation 1.2583…: (0.1325, −1.0596, 0.9272), cut at ±0.6.
    cut = by_hand(given, 0.0, [(1 - 5 / 6) / 1.2583057392117916, -0.6, 0.6])
    close(given.token_advantages, cut)
    target = experience(has_reference=False)
    target.rewards = [100.0, 100.0, 100.0]
    appraisal(target, is_target=True)
    close(target.token_advantages, by_hand(target, 0.0, [0.6, 0.6, 0.6]))
    assert appraisal.state_dict()["moments"][0] == 3, "target responses teach nothing"


def test_a_reference_is_needed_where_a_nat_costs_something():
    assert spec().needs_reference
    kl = replace(spec().kl, control="fixed", coefficient=0.0, target=None, horizon=None)
    assert not spec(kl=kl).needs_reference
