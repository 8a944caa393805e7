"""Phases without a response to learn from: passed over, counted, and given up on with the reason."""

import pytest

from drpt.rl.phases_in_vain import PHASES_IN_VAIN, BegunPhase, NoSignalError, begin_until_signal

KINDS = {"learn": (4, 1), "alike": (0, 0), "dropped": (4, 0)}  # trajectories and steps that a phase leaves


def begin(*kinds):
    """Phases one after another: they leave a step, no group with a signal, or no response that is kept."""
    left = iter(kinds)

    def next_phase():
        num_general, num_steps = KINDS[next(left)]
        return BegunPhase(metrics={"rollout/seconds/value": 1.0}, num_general=num_general, num_steps=num_steps)

    return next_phase


def test_phases_without_a_signal_are_passed_over():
    metrics = begin_until_signal(begin("alike", "alike", "dropped", "learn"))
    assert metrics == {"train/phases_in_vain/value": 3.0, "rollout/seconds/value": 4.0}


def test_a_phase_that_teaches_something_is_the_only_one():
    assert begin_until_signal(begin("learn")) == {"rollout/seconds/value": 1.0}


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        (["alike"] * PHASES_IN_VAIN, r"^in 8 of 8 phases in a row all rewards.*algorithm\.zero_variance=keep\.$"),
        (["dropped"] * PHASES_IN_VAIN, r"^in 8 of 8 phases in a row every response pointed against.*another regularizer"),
        ([*["alike"] * 6, "dropped", "dropped"], r"^in 6 of 8 phases.*were alike.* in 2 of 8 phases.*was dropped"),
    ],
)
def test_a_run_without_a_signal_ends_with_the_reason(kinds, reason):
    with pytest.raises(NoSignalError, match=reason):
        begin_until_signal(begin(*kinds))
