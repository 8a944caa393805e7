"""A rule for each type of layer; a layer from outside brings its own (`LowRank` is the worked example)."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import drpt
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.gradients import FactoredGradient, PerExampleGradient, accumulating
from drpt.capture.layers.conv1d import Conv1dRule
from drpt.capture.layers.experts import ExpertsRule
from drpt.capture.layers.layer_rule import FactoredForm, LayerRule, PerExampleForm
from drpt.capture.layers.linear import LinearRule
from drpt.capture.layers.own_code import OwnCodeRule
from drpt.capture.layers.rules import DEFAULT_RULES
from drpt.capture.planning.plan import plan_of
from drpt.capture.step_size import StepSize
from drpt.capture.tokens import TokenVectors
from drpt.capture.trace import StepTrace
from tests import zoo
from tests.capture.helpers import M, N, assert_equal_grads, regularizer, step_rows
from tests.reference import per_sample


# --8<-- [start:layer]
class _Product(torch.autograd.Function):
    """``y = x Wᵀ · scale`` in "C++": a function whose gradient nothing but its own backward knows."""

    @staticmethod
    def forward(ctx, x, weight, scale):
        ctx.save_for_backward(x, weight, scale)
        return (x @ weight.T) * scale

    @staticmethod
    def backward(ctx, grad):
        x, weight, scale = ctx.saved_tensors
        scaled = grad * scale
        flat = scaled.flatten(0, -2)
        return scaled @ weight, flat.T @ x.flatten(0, -2), (grad * (x @ weight.T)).flatten(0, -2).sum(dim=0)


class ScaledLinear(nn.Module):
    """A layer whose code the capture cannot follow."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * 0.3)
        self.scale = nn.Parameter(torch.rand(outputs) + 0.5)

    def forward(self, x):
        return _Product.apply(x, self.weight, self.scale)


# --8<-- [end:layer]
# --8<-- [start:rule]
class _Captured(torch.autograd.Function):
    """The same, whose backward pass records instead of forming gradients of the parameters."""

    @staticmethod
    def forward(ctx, x, weight, scale, anchor, record):
        ctx.save_for_backward(x, weight, scale)
        ctx.record = record
        return (x @ weight.T) * scale

    @staticmethod
    def backward(ctx, grad):
        x, weight, scale = ctx.saved_tensors
        ctx.record(x, grad * scale, grad * (x @ weight.T))
        return (grad * scale) @ weight, None, None, None, None


class ScaledLinearRule(LayerRule):
    """``W`` has factors (output gradient · scale, x); ``scale`` is small, and has one gradient an example."""

    name = "scaled linear"
    parameters = frozenset(("weight", "scale"))

    def captured_forward(self, module, ordinary, site):
        def record(x, scaled_grads, per_token):
            inputs, segments = site.layout.flatten(x)
            left, _ = site.layout.flatten(scaled_grads)
            of_scale, _ = site.layout.flatten(per_token)
            uses = {
                "weight": FactoredGradient(TokenVectors(left), TokenVectors(inputs), segments, left.shape[1]),
                "scale": PerExampleGradient(segments.sums(accumulating(of_scale)), segments),
            }
            site.record([(name, use) for name, use in uses.items() if name in site.trained])

        def captured(x):
            output = _Captured.apply(x, module.weight.detach(), module.scale.detach(), site.anchor, record)
            site.announce(sorted(site.trained), (x.numel() + output.numel()) * x.element_size())
            return output

        return captured

    def gradient_form(self, module, parameter):
        values = module.get_parameter(parameter)
        return FactoredForm(*values.shape) if parameter == "weight" else PerExampleForm(values.numel())

    def announced_bytes(self, module, trained, size):
        around = FactoredForm(*module.weight.shape).announced_bytes(size)
        return {name: around if name == max(trained) else 0 for name in trained}


# --8<-- [end:rule]
# --8<-- [start:use]
MINE = {ScaledLinear: ScaledLinearRule()}
RULES = DEFAULT_RULES.extended(MINE)
# --8<-- [end:use]


def build():
    torch.manual_seed(3)
    return zoo.VectorLosses(nn.Sequential(nn.Linear(6, 5), ScaledLinear(5, 4), nn.Tanh(), ScaledLinear(4, 6))).double()


@pytest.mark.parametrize("partition", ["layer", "global"])
@pytest.mark.parametrize("products", ["auto", "direct", "pairwise"])
def test_a_layer_with_a_rule_of_its_own_equals_brute_force(products, partition):
    model = build()
    inputs = zoo.inputs_for(model, N + M)
    rows = per_sample.per_sample_grads(model, model(inputs))
    expected = per_sample.updates(rows, N, [1 / N] * N, feasible_set="subset", strength=0.5, partition=partition)
    trained = copy.deepcopy(model)
    reg = regularizer(partition=partition, products=products)
    with drpt.GradientCapture(trained, reg, layer_rules=RULES).step(step_rows()) as step:  # checks itself
        step.backward(trained(inputs))
    assert_equal_grads({name: parameter.grad for name, parameter in trained.named_parameters()}, expected)


def test_without_a_rule_the_layer_is_refused():
    model = build()
    with (
        pytest.raises(UnsupportedModuleError, match=r"net\.1"),
        drpt.GradientCapture(model, regularizer()).step(step_rows()) as step,
    ):
        step.backward(model(zoo.inputs_for(model, N + M)))


def test_a_rule_that_is_wrong_is_found():
    class Wrong(ScaledLinearRule):
        def captured_forward(self, module, ordinary, site):
            return super().captured_forward(module, ordinary, _Halved(site))

    class _Halved:
        def __init__(self, site):
            self._site = site

        def __getattr__(self, name):
            return getattr(self._site, name)

        def record(self, uses):
            self._site.record([(name, _half(use)) for name, use in uses])

    def _half(use):
        if isinstance(use, PerExampleGradient):
            return PerExampleGradient(use.grads / 2, use.segments)
        return use

    model = build()
    rules = DEFAULT_RULES.extended({ScaledLinear: Wrong()})
    with (
        pytest.raises(UnsupportedModuleError, match=r"net\.[13] \(ScaledLinear\) gets for scale a gradient that is 50 % away"),
        drpt.GradientCapture(model, regularizer(), layer_rules=rules).step(step_rows()) as step,
    ):
        step.backward(model(zoo.inputs_for(model, N + M)))


def test_plans_speak_of_it_as_the_step_does():
    class Announced(StepTrace):
        def closed(self, ledger, *, is_two_pass):
            self.num_bytes = ledger.announced_bytes

    model, trace = build(), Announced()
    inputs = zoo.inputs_for(model, N + M)
    capture = drpt.GradientCapture(model, regularizer(), layer_rules=RULES)
    with capture.step(step_rows(), trace=trace) as step:
        step.backward(model(inputs))
    size = StepSize(num_general=N, num_target=M, row_tokens=inputs.shape[1], product_bytes=8, other_bytes=8)
    plan = plan_of(model, regularizer(), size, layer_rules=RULES)
    assert {line.rule for line in plan.lines} == {"linear", "bias", "scaled linear"}
    assert plan.announced_bytes == trace.num_bytes


def test_a_second_rule_for_a_type_is_refused():
    with pytest.raises(ValueError, match=r"Linear has a rule already, LinearRule\. Give a subclass"):
        DEFAULT_RULES.extended({nn.Linear: ScaledLinearRule()})
    with pytest.raises(ValueError, match=r"ScaledLinear has a rule already"):
        RULES.extended({ScaledLinear: ScaledLinearRule()})
    with pytest.raises(TypeError, match="LayerRule"):
        DEFAULT_RULES.extended({ScaledLinear: ScaledLinearRule})


def test_ours_stay_as_they_are():
    assert isinstance(DEFAULT_RULES.find(ScaledLinear(2, 2)), OwnCodeRule)
    assert isinstance(RULES.find(ScaledLinear(2, 2)), ScaledLinearRule)


class Renamed(nn.Linear):
    """The forward of its base."""


class Changed(nn.Linear):
    def forward(self, x):
        return F.linear(x, 2 * self.weight, self.bias)


def test_subclasses_count_as_their_base_where_the_forward_is_unchanged():
    from transformers.pytorch_utils import Conv1D

    assert type(DEFAULT_RULES.find(Renamed(2, 2))) is LinearRule
    assert isinstance(DEFAULT_RULES.find(Changed(2, 2)), OwnCodeRule)
    assert isinstance(DEFAULT_RULES.find(Conv1D(2, 2)), Conv1dRule)
    assert DEFAULT_RULES.is_linear(Changed(2, 2))
    assert DEFAULT_RULES.is_linear(Conv1D(2, 2))
    assert not DEFAULT_RULES.is_linear(nn.Embedding(2, 2))


def test_modules_that_cannot_be_followed_may_be_given_a_rule():
    class LstmRule(ScaledLinearRule):
        parameters = frozenset(name for name, _ in nn.LSTM(2, 2).named_parameters())

    assert DEFAULT_RULES.find(nn.LSTM(2, 2)) is None
    rule = LstmRule()
    assert DEFAULT_RULES.extended({nn.LSTM: rule}).find(nn.LSTM(2, 2)) is rule


def test_experts_are_recognised_by_what_they_have():
    assert not ExpertsRule.recognizes(nn.Linear(2, 2))
