"""Numbers of `algorithm` that float32 turns into infinities or zeros are refused."""

import re

import pytest

from drpt.app.compose import compose_run
from drpt.app.config import check_config
from drpt.rl.ppo_spec import KlSpec, ScoreSpec, ValueSpec
from drpt.tasks.errors import ConfigError
from tests.rl.test_advantage_estimator import spec

KL = {"control": "adaptive", "coefficient": 0.3, "target": 2.0, "horizon": 100.0, "estimator": "k1", "stop": 0.3}
VALUE = {"coefficient": 0.1, "clip": 0.2, "lr": 5e-4}


@pytest.mark.parametrize("value", [1e30, 1e-30])
@pytest.mark.parametrize(
    ("option", "build"),
    [
        *((f"kl.{key}", lambda value, key=key: KlSpec(**(KL | {key: value}))) for key in ("coefficient", "target", "stop")),
        *((f"value.{key}", lambda value, key=key: ValueSpec(**(VALUE | {key: value}))) for key in VALUE),
        ("score.clip", lambda value: ScoreSpec(scaling="none", clip=value)),
        ("entropy_coefficient", lambda value: spec(entropy_coefficient=value)),
    ],
)
def test_sizes_have_bounds(option, build, value):
    with pytest.raises(
        ValueError, match=rf"^algorithm\.{option}={re.escape(str(value))} must (be 0 or )?lie in \[1\.1e-19, 1\.8e\+19\]"
    ):
        build(value)


@pytest.mark.parametrize("key", ["coefficient"])
def test_zero_leaves_something_out(key):
    assert ValueSpec(**(VALUE | {key: 0.0}))
    assert KlSpec(**(KL | {key: 0.0, "control": "fixed"}))


def test_decay_goes_with_the_value_heads_rate_too():
    words = ["task=rlhf", "data=easy_reasoning", "optimizer.lr=1e-6", "optimizer.weight_decay=100", "sweep=test"]
    with pytest.raises(ConfigError, match=r"weight_decay=100\.0 times algorithm\.value\.lr=0\.02 is 2 and must be below 1"):
        check_config(compose_run([*words, "algorithm.value.lr=0.02"]))
