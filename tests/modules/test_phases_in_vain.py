"""Phases without a response to learn from: gone through, counted, and given up on with the reason."""

from types import SimpleNamespace

import pytest

from drpt.modules.experience import Experience
from drpt.modules.policy_training import _PHASES_IN_VAIN, PolicyTraining
from drpt.modules.rollout_phase import NoSignalError

ROWS = Experience(prompts=[[1]], responses=[[2]], groups=[0], rewards=[1.0], engine_logprobs=[[0.0]])


def training(*phases):
    """What `_next_phase` looks at; each phase is `learn`, `alike` (no group is left) or `dropped` (no response is kept)."""
    left = list(phases)
    fake = SimpleNamespace(_batches=[], _general=Experience(), _phase=-1)

    def begin(step):
        kind = left.pop(0)
        fake._phase += 1
        fake._general = Experience() if kind == "alike" else ROWS
        fake._batches = [[0]] if kind == "learn" else []
        return {"rollout/seconds/value": 1.0}

    fake._begin_phase = begin
    return fake


def test_phases_without_a_signal_are_gone_through():
    fake = training("alike", "alike", "dropped", "learn")
    metrics = PolicyTraining._next_phase(fake, 0)
    assert metrics == {"train/phases_in_vain/value": 3.0, "rollout/seconds/value": 4.0}
    assert fake._phase == 3


def test_a_phase_that_teaches_something_is_the_only_one():
    assert PolicyTraining._next_phase(training("learn"), 0) == {"rollout/seconds/value": 1.0}


def test_a_run_without_a_signal_ends_with_the_reason():
    with pytest.raises(NoSignalError, match=r"^in 8 of 8 phases in a row all rewards.*algorithm\.zero_variance=keep\.$"):
        PolicyTraining._next_phase(training(*["alike"] * _PHASES_IN_VAIN), 0)
    with pytest.raises(NoSignalError, match=r"^in 8 of 8 phases in a row every response pointed against.*another regularizer"):
        PolicyTraining._next_phase(training(*["dropped"] * _PHASES_IN_VAIN), 0)
    with pytest.raises(NoSignalError, match=r"^in 6 of 8 phases.*were alike.* in 2 of 8 phases.*was dropped"):
        PolicyTraining._next_phase(training(*["alike"] * 6, "dropped", "dropped"), 0)
