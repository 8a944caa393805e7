"""Rules of the `algorithm` group."""

import pytest

from drpt.rl.algorithm_spec import OLD_LOGPROBS, TARGET_SOURCES, ZERO_VARIANCE, GroupAlgorithmSpec, TargetObjectiveSpec
from drpt.rl.choices import ADVANTAGES, KL_GRADIENTS, NORMALISATIONS, TARGET_OBJECTIVES

TARGET = {"source": "prompts", "objective": "reward", "refresh_steps": 1}
GRPO = {
    "name": "grpo",
    "advantage": "std",
    "normalisation": "sequence",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "kl_coefficient": 0.001,
    "kl_gradient": "k3",
    "epochs": 1,
    "zero_variance": "keep",
    "resample_rounds": 4,
    "old_logprobs": "engine",
    "importance_cap": None,
}


def spec(**changes):
    return GroupAlgorithmSpec(**(GRPO | {"target": TargetObjectiveSpec(**TARGET)} | changes))


@pytest.mark.parametrize(
    ("key", "choices"),
    [
        ("advantage", ADVANTAGES),
        ("normalisation", NORMALISATIONS),
        ("kl_gradient", KL_GRADIENTS),
        ("zero_variance", ZERO_VARIANCE),
        ("old_logprobs", OLD_LOGPROBS),
    ],
)
def test_every_choice_is_taken_and_others_are_named(key, choices):
    for choice in choices:
        assert getattr(spec(**{key: choice}), key) == choice
    with pytest.raises(ValueError, match=rf"^algorithm\.{key}='other' is not known\..* Choices: {', '.join(choices)}\.$"):
        spec(**{key: "other"})


@pytest.mark.parametrize(("key", "choices"), [("source", TARGET_SOURCES), ("objective", TARGET_OBJECTIVES)])
def test_every_choice_of_the_target_is_taken_and_others_are_named(key, choices):
    for choice in choices:
        assert getattr(TargetObjectiveSpec(**(TARGET | {key: choice})), key) == choice
    with pytest.raises(
        ValueError, match=rf"^algorithm\.target\.{key}='other' is not known\..* Choices: {', '.join(choices)}\.$"
    ):
        TargetObjectiveSpec(**(TARGET | {key: "other"}))


@pytest.mark.parametrize("steps", [0, -1])
def test_the_target_gradient_lasts_for_a_step_at_least(steps):
    with pytest.raises(ValueError, match=rf"^algorithm\.target\.refresh_steps={steps} must be at least 1: optimizer steps"):
        TargetObjectiveSpec(**(TARGET | {"refresh_steps": steps}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip_low": 0.0}, r"^algorithm\.clip_low=0\.0 must lie in \(0, 1\]"),
        ({"clip_low": 1.1}, r"^algorithm\.clip_low=1\.1 must lie in \(0, 1\]"),
        ({"clip_high": 0.0}, r"^algorithm\.clip_high=0\.0 must be more than 0"),
        ({"clip_high": float("inf")}, r"^algorithm\.clip_high=inf must be finite"),
        ({"kl_coefficient": -0.1}, r"^algorithm\.kl_coefficient=-0\.1 must be at least 0: .*0 needs no reference"),
        ({"clip_high": 1e-9}, r"^algorithm\.clip_high=1e-09 must be at least 1\.2e-07, the spacing of float32"),
        ({"clip_low": 1e-300}, r"^algorithm\.clip_low=1e-300 must be at least 1\.2e-07"),
        ({"kl_coefficient": 1e30}, r"^algorithm\.kl_coefficient=1e\+30 must be 0 or lie in \[1\.1e-19, 1\.8e\+19\]"),
        ({"kl_coefficient": 1e-40}, r"^algorithm\.kl_coefficient=1e-40 must be 0 or lie in"),
        ({"epochs": 0}, r"^algorithm\.epochs=0 must be at least 1"),
        ({"resample_rounds": 0}, r"^algorithm\.resample_rounds=0 must be at least 1"),
        ({"old_logprobs": "trainer", "importance_cap": 0.5}, r"^algorithm\.importance_cap=0\.5 must be at least 1"),
        ({"importance_cap": 2.0}, r"^algorithm\.importance_cap=2\.0: .*set algorithm\.old_logprobs=trainer, or .*=null"),
    ],
)
def test_numbers_have_bounds(changes, message):
    with pytest.raises(ValueError, match=message):
        spec(**changes)


def test_ends_of_the_bounds_are_taken():
    assert spec(clip_low=1.0, kl_coefficient=0.0, clip_high=5.0)
    assert spec(old_logprobs="trainer", importance_cap=1.0)
    assert spec(old_logprobs="trainer", importance_cap=None)
