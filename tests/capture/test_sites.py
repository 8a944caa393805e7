"""Modules that the capture cannot replace, and uses that it cannot see, are refused in words."""

import pytest
import torch
from torch import nn

from drpt.capture.capture import GradientCapture
from drpt.capture.errors import UnsupportedModuleError
from tests import zoo
from tests.capture.helpers import M, N, assert_equal_grads, captured_grads, regularizer, step_rows


class Recurrent(nn.Module):
    """Owns parameters that no rule covers."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 6, batch_first=True)
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        return self.linear(self.lstm(x)[0])


class BorrowedWeight(nn.Module):
    """Uses a layer's weight behind the layer's back."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6, bias=False)

    def forward(self, x):
        return self.linear(x) @ self.linear.weight


def test_uncovered_parameter_is_named():
    model = zoo.VectorLosses(Recurrent())
    with pytest.raises(UnsupportedModuleError, match=r"net\.lstm\.weight_ih_l0 \(LSTM\).*Freeze"):
        GradientCapture(model, regularizer())


def _weight_norm(layer):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the old way is deprecated, and still in use
        return nn.utils.weight_norm(layer)


@pytest.mark.parametrize("normed", [_weight_norm, nn.utils.parametrizations.weight_norm])
def test_weights_made_of_other_parameters_are_refused(normed):
    model = zoo.VectorLosses(nn.Sequential(normed(nn.Linear(6, 6)), nn.Linear(6, 6)))
    with pytest.raises(UnsupportedModuleError, match=r"net\.0\.(weight_g|bias|parametrizations)"):
        GradientCapture(model, regularizer())


@pytest.mark.parametrize("place", ["model", "part"])
def test_compiled_modules_with_trained_parameters_are_refused(place):
    model = zoo.build("norms and biases")
    if place == "model":
        model = torch.compile(model)
    else:
        model.net[1].compile()
    with pytest.raises(UnsupportedModuleError, match=r"is compiled \(torch\.compile\).*as it was before"):
        GradientCapture(model, regularizer())
    GradientCapture(model, regularizer("mean"))  # one weighted loss: any model will do


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # raised inside torch.compile
def test_compiled_modules_without_trained_parameters_are_fine():
    model = zoo.build("norms and biases")
    model.net.insert(1, nn.Tanh())
    inputs = zoo.inputs_for(model, N + M)
    expected, _ = captured_grads(model, inputs, step_rows(), regularizer())
    model.net[1] = torch.compile(model.net[1], backend="eager")
    actual, _ = captured_grads(model, inputs, step_rows(), regularizer())
    assert_equal_grads(actual, {name.replace("1._orig_mod", "1"): grad for name, grad in expected.items()})


@pytest.mark.parametrize("check", [True, False])
def test_reentrant_checkpointing_is_refused(check):
    model = zoo.llama(tied=False).double()
    model.lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    model.lm.enable_input_require_grads()
    with (
        pytest.raises(
            UnsupportedModuleError, match=r"reentrant gradient checkpointing is not covered \(use_reentrant=False is\)"
        ),
        GradientCapture(model, regularizer(), check=check).step(step_rows()) as step,
    ):
        step.backward(model(zoo.inputs_for(model, N + M)))


def test_ids_that_could_be_rows_or_tokens_are_refused():
    model = zoo.build("positions without rows")
    with (
        pytest.raises(UnsupportedModuleError, match=r"position: 8 ids in one vector.*one id a row, or one a token"),
        GradientCapture(model, regularizer()).step(step_rows(n=6)),
    ):
        model(zoo.inputs_for(model, 8))


def test_use_outside_the_module_is_refused():
    model = zoo.VectorLosses(BorrowedWeight()).double()
    capture = GradientCapture(model, regularizer())
    with (
        pytest.raises(UnsupportedModuleError, match=r"net\.linear\.weight is used outside"),
        capture.step(step_rows()) as step,
    ):
        step.backward(model(zoo.inputs_for(model, N + M)))


def test_merged_rows_are_refused():
    class Merging(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(6, 6)
            self.linear = nn.Linear(6, 6)

        def forward(self, x):
            return x + self.linear(self.first(x).mean(dim=0, keepdim=True))

    model = zoo.VectorLosses(Merging()).double()
    with (
        pytest.raises(UnsupportedModuleError, match=r"net\.linear: input of shape.*merged, moved or dropped"),
        GradientCapture(model, regularizer()).step(step_rows()),
    ):
        model(zoo.inputs_for(model, N + M))
