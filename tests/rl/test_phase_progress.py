"""How far training has come in a phase, and what a checkpoint keeps of it."""

import json

import pytest
import torch

from drpt.capture.target import TargetGradient
from drpt.rl.phase_progress import PhaseProgress, plain_state, progress_of
from drpt.rl.trajectory import Trajectory


def progress(position):
    general = [Trajectory(prompt=[1], response=[2, 3], reward=0.5, advantages=[0.1, 0.2])] * 2
    return PhaseProgress(
        phase_index=3,
        general=general,
        minibatches=[[0], [1], [0], [1]],
        position=position,
        first_step=12,
        target_grad=TargetGradient({"weight": torch.ones(2)}),
    )


@pytest.mark.parametrize("position", [1, 2, 3])
def test_a_checkpoint_gives_the_phase_back(position):
    before = progress(position)
    state = plain_state(before.state(refresh_steps=2))
    json.dumps({name: value for name, value in state.items() if name != "target_grad"})  # plain values
    after = progress_of(state)
    assert (after.phase_index, after.position, after.first_step) == (3, position, 12)
    assert (after.minibatch, after.general, after.target_trajectories) == (before.minibatch, before.general, before.general)
    assert (after.target_grad is None) == before.is_target_due(2), "one that is computed anew next is not kept"


def test_what_is_kept_of_a_step_does_not_change_with_the_next():
    running = progress(2)
    state = running.state(refresh_steps=1)
    assert running.skip_rest() == 2
    assert running.is_used_up
    assert not progress_of(plain_state(state)).is_used_up


def test_a_phase_is_due_before_the_first():
    assert PhaseProgress().is_used_up
