"""Updates are looked at before the optimizer takes them, weights before they are written."""

import math

import pytest
import torch
from torch import nn

from drpt.capture.partition import Block
from drpt.errors import NonFiniteUpdateError, NonFiniteWeightsError, VanishedUpdatesError
from drpt.modules.update_watch import UpdateNorm, UpdateWatch


@pytest.fixture
def parameters():
    found = {"trunk.weight": nn.Parameter(torch.ones(2, 2)), "value_head.weight": nn.Parameter(torch.ones(2))}
    found["trunk.weight"].grad = torch.full((2, 2), 2.0)
    found["value_head.weight"].grad = torch.tensor([0.0, 3.0])
    return found


@pytest.fixture
def watch(parameters):
    blocks = (Block("trunk", ("trunk.weight",)), Block("value_head", ("value_head.weight",)))
    return UpdateWatch(parameters, blocks, ("value_head.weight",))


def test_norms_of_what_is_regularized_and_of_everything(watch, parameters):
    assert watch.norm(0) == UpdateNorm(regularized=4.0, whole=5.0)
    parameters["value_head.weight"].grad = None
    assert watch.norm(0) == UpdateNorm(regularized=4.0, whole=4.0)


@pytest.mark.parametrize("name", ["trunk.weight", "value_head.weight"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_no_number_is_named(watch, parameters, name, value):
    parameters[name].grad.view(-1)[1] = value
    said = (
        rf"^step 3: the update is NaN or infinite.*: {name} \(block {name.split('.')[0]}\) in 1 of {parameters[name].numel()}"
    )
    with pytest.raises(NonFiniteUpdateError, match=said):
        watch.norm(2)


@pytest.mark.parametrize("name", ["trunk.weight", "value_head.weight"])
def test_a_gradient_that_adamw_would_square_to_infinity_is_refused(watch, parameters, name):
    """The step would be m / √∞ = 0, and no later one would be larger."""
    parameters[name].grad.fill_(1e21)
    with pytest.raises(
        NonFiniteUpdateError, match=rf"step 1: the update is too large for AdamW.*{name} .*entries up to 1e\+21"
    ):
        watch.norm(0)
    optimizer = torch.optim.AdamW([parameters[name]], lr=0.1, weight_decay=0.0)
    optimizer.step()
    assert bool((parameters[name] == 1).all())


@pytest.mark.parametrize("key", ["weights", "exp_avg", "exp_avg_sq"])
def test_what_would_be_written_is_looked_at(watch, parameters, key):
    optimizer = torch.optim.AdamW(parameters.values())
    optimizer.step()
    watch.require_finite_weights(optimizer.state, 1)
    weight = parameters["value_head.weight"]
    (weight.data if key == "weights" else optimizer.state[weight][key])[0] = math.inf
    prefix = "" if key == "weights" else f"{key} of "
    said = rf"^after step 7 the trained weights are NaN or infinite: {prefix}value_head.weight \(block value_head\) in 1 of 2"
    with pytest.raises(NonFiniteWeightsError, match=said):
        watch.require_finite_weights(optimizer.state, 7)


def test_large_weights_are_numbers(watch, parameters):
    """Their norm is infinite in float32, and they are not."""
    parameters["trunk.weight"].data.fill_(1e30)
    watch.require_finite_weights({}, 1)


def test_a_run_of_zero_updates_fails_and_single_ones_are_counted(watch):
    nothing, something = UpdateNorm(0.0, 1.0), UpdateNorm(1.0, 1.0)
    watch.require_change()  # of no step at all
    assert watch.count(nothing, {}) == {"train/zero_updates/sum": 1.0}
    assert watch.count(nothing, {"train/solver_failures/sum": 28.0}) == {"train/zero_updates/sum": 2.0}
    with pytest.raises(VanishedUpdatesError, match=r"all 2 updates .* exactly zero.* In 1 of them a solver failed"):
        watch.require_change()
    other = UpdateWatch({}, (), ())
    other.load_state_dict(watch.state_dict())
    assert other.count(something, {}) == {"train/zero_updates/sum": 2.0}
    other.require_change()
