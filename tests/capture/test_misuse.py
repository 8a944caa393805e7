"""What would otherwise be a wrong update and no word of it is refused, and the model is left as it was."""

import copy

import pytest
import torch

from drpt.capture.capture import GradientCapture
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.target import TargetGradient
from tests import zoo
from tests.capture.helpers import M, N, assert_equal_grads, captured_grads, micro_batches, regularizer, step_rows


@pytest.fixture
def model():
    return zoo.build("norms and biases")


@pytest.fixture
def inputs(model):
    return zoo.inputs_for(model, N + M)


@pytest.mark.parametrize("feasible_set", ["hull", "mean"])
def test_examples_in_several_micro_batches_are_refused(model, inputs, feasible_set):
    """Each would count as all of the examples."""
    capture = GradientCapture(model, regularizer(feasible_set))
    everyone = range(N + M)
    with (
        pytest.raises(
            ValueError, match=r"examples 0, 1, 2, 3, 4, 5, 6 are in more than one: each belongs to one micro-batch\."
        ),
        capture.step(step_rows(), micro_batches=micro_batches([everyone, everyone])),
    ):
        pass


def test_missing_examples_are_named(model, inputs):
    capture = GradientCapture(model, regularizer())
    with (
        pytest.raises(ValueError, match=r"of the step's 5 general and 2 target examples, examples 4, 6 are in none"),
        capture.step(step_rows(), examples=(0, 1, 2, 3, 5)) as step,
    ):
        step.backward(model(inputs[[0, 1, 2, 3, 5]]))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_places_that_do_not_exist_are_named(model, inputs):
    capture = GradientCapture(model, regularizer())
    with (
        pytest.raises(ValueError, match=r"the step has no examples 7.*5 general and 2 target examples are numbered from 0"),
        capture.step(step_rows(), examples=(0, 1, 2, 3, 4, 5, 7)) as step,
    ):
        step.backward(model(inputs))


@pytest.mark.parametrize("feasible_set", ["hull", "mean"])
def test_steps_closed_too_early_are_refused(model, inputs, feasible_set):
    capture = GradientCapture(model, regularizer(feasible_set))
    with pytest.raises(RuntimeError, match="opened for 1 micro-batch and closed after 0"), capture.step(step_rows()):
        model(inputs)
    with (
        pytest.raises(RuntimeError, match="opened for 2 micro-batches and closed after 1"),
        capture.step(step_rows(), micro_batches=micro_batches([(0, 1, 2), (3, 4, 5, 6)])) as step,
    ):
        step.backward(model(inputs[:3]))


def test_ordinary_backward_passes_within_a_step_are_refused(model, inputs):
    capture = GradientCapture(model, regularizer())
    with (
        pytest.raises(RuntimeError, match=r"reached net\..* while no step\.backward was running.*once for each micro-batch"),
        capture.step(step_rows()),
    ):
        model(inputs).mean().backward()


def test_a_step_may_be_given_up(model, inputs):
    capture = GradientCapture(model, regularizer())
    for _ in range(2):
        with capture.step(step_rows()) as step:
            losses = model(inputs)
            if not torch.isnan(losses[0]):
                step.cancel()
                continue
            step.backward(losses)
    assert all(parameter.grad is None for parameter in model.parameters())
    with (
        pytest.raises(RuntimeError, match=r"opened for 0 micro-batches and closed after 0.*finish"),
        capture.step(step_rows(n=0, m=0), micro_batches=(), target=TargetGradient({})),
    ):
        pass


def test_examples_may_be_a_tensor(model, inputs):
    expected, _ = captured_grads(model, inputs, step_rows(), regularizer())
    with GradientCapture(model, regularizer()).step(step_rows(), examples=torch.arange(N + M)) as step:
        step.backward(model(inputs))
    assert_equal_grads({name: parameter.grad for name, parameter in model.named_parameters()}, expected)


def test_a_model_without_trained_parameters_is_refused(model):
    with pytest.raises(ValueError, match="no parameter of the model requires gradients"):
        GradientCapture(model.requires_grad_(False), regularizer())


def test_losses_from_before_the_step_are_refused(model, inputs):
    losses = model(inputs)
    with (
        pytest.raises(UnsupportedModuleError, match="no trained parameter was used within this step"),
        GradientCapture(model, regularizer()).step(step_rows()) as step,
    ):
        step.backward(losses)


def test_a_step_within_a_step_is_refused(model, inputs):
    capture = GradientCapture(model, regularizer())
    said = "is in a step of the capture already"
    with pytest.raises(RuntimeError, match=said), capture.step(step_rows()), capture.step(step_rows()):
        pass
    with pytest.raises(RuntimeError, match=said), capture.step(step_rows()):
        GradientCapture(model, regularizer())
    assert not any("forward" in vars(module) for module in model.modules())
    model(inputs).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("change", ["is", "is not"])
def test_parameters_that_are_frozen_or_not_since_are_named(model, change):
    bias = model.net[1].bias
    bias.requires_grad_(change == "is not")
    capture = GradientCapture(model, regularizer())
    bias.requires_grad_(change == "is")
    with pytest.raises(ValueError, match=rf"net\.1\.bias {change} trained now"), capture.step(step_rows()):
        pass


def test_modules_that_are_replaced_since_are_named(model):
    capture = GradientCapture(model, regularizer())
    model.net[1] = copy.deepcopy(model.net[1])
    with pytest.raises(ValueError, match=r"net\.1\.weight is another module's"), capture.step(step_rows()):
        pass


def test_forwards_set_on_a_module_since_are_refused(model):
    capture = GradientCapture(model, regularizer())
    model.net[1].forward = lambda x, own=model.net[1].forward: 2 * own(x)
    with pytest.raises(UnsupportedModuleError, match=r"net\.1 \(Linear\) has a forward set"), capture.step(step_rows()):
        pass


def test_models_compiled_since_are_refused(model):
    capture = GradientCapture(model, regularizer())
    model.compile()
    with pytest.raises(UnsupportedModuleError, match=r"the model is compiled"), capture.step(step_rows()):
        pass


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # raised inside torch.compile
def test_a_compiled_copy_in_the_loop_gives_the_same_update(model, inputs):
    expected, _ = captured_grads(model, inputs, step_rows(), regularizer())
    capture = GradientCapture(model, regularizer())
    compiled = torch.compile(model, backend="eager")
    for _ in range(2):
        model.zero_grad()
        with capture.step(step_rows()) as step:
            step.backward(compiled(inputs))
        assert_equal_grads({name: parameter.grad for name, parameter in model.named_parameters()}, expected)


@pytest.mark.parametrize("place", [0, 1])
def test_forwards_set_on_a_module_are_refused(model, place):
    module = model.net[place]
    module.forward = lambda x, own=module.forward: 2 * own(x)
    with pytest.raises(UnsupportedModuleError, match=rf"net\.{place} \(L.*\) has a forward set on the object.*Remove"):
        GradientCapture(model, regularizer())


def test_a_norm_runs_the_forward_that_is_set_on_it(model, inputs):
    """Norms of transformers run by their own code, whatever it is."""

    def wrap(model):
        model = copy.deepcopy(model)
        norm = model.net[4]
        norm.forward = lambda x, own=norm.forward: 2 * own(x)
        return model

    trained = wrap(model)
    with GradientCapture(trained, regularizer("hull", strength=1.0)).step(step_rows()) as step:  # λ = 1: the mean
        step.backward(trained(inputs))
    expected = wrap(model)
    expected(inputs)[:N].mean().backward()
    assert_equal_grads(
        {name: parameter.grad for name, parameter in trained.named_parameters()},
        {name: parameter.grad for name, parameter in expected.named_parameters()},
    )
