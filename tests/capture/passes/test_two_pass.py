"""A second pass forms the same update where activations are not kept."""

import copy

import pytest
import torch
from torch import nn

from drpt.capture.capture import GradientCapture
from drpt.capture.products.sketch_spec import SketchSpec
from tests import zoo
from tests.capture.batches import LONG_DIRECT, LONG_REDUCED, SKETCH, ByFlag, Kept, several_batches, updates_of
from tests.capture.helpers import M, N, assert_equal_grads, capture_of, captured_grads, micro_batches, regularizer, step_rows
from tests.reference import per_sample


def test_a_second_pass_needs_functions_and_targets_first():
    model = zoo.build("tied llama")
    with pytest.raises(ValueError, match=r"hand step\.backward a function"):
        updates_of(model, regularizer(), several_batches((5, 6), (0, 1, 2, 3, 4)), activation_budget_mib=0.0)
    with pytest.raises(ValueError, match="put the target examples into the first micro-batches"):
        updates_of(model, regularizer(), several_batches((0, 1, 2, 3, 4), (5, 6)), as_functions=True, activation_budget_mib=0.0)


@pytest.mark.parametrize("products", ["auto", LONG_REDUCED, "pairwise", LONG_DIRECT, "sketch"])
@pytest.mark.parametrize("partition", ["block", "kind", "global"])
@pytest.mark.parametrize("name", ["tied llama", "checkpointed llama", "lora", "value head", "used twice"])
def test_recomputing_equals_retaining(name, partition, products):
    model = zoo.build(name)
    inputs = zoo.inputs_for(model, N + M)
    options = {"sketch": SKETCH} if products == "sketch" else {}
    reg = regularizer("hull", partition=partition, products=products)
    expected, _ = captured_grads(model, inputs, step_rows(), reg, **options)
    actual, report = captured_grads(model, inputs, step_rows(), reg, activation_budget_mib=0.0, **options)
    assert_equal_grads(actual, expected)
    assert len(report.groups) == 1, "all blocks are solved together"


def test_recomputing_keeps_no_activations():
    model = zoo.build("tied llama")
    inputs = zoo.inputs_for(model, N + M)
    trace = Kept()
    for activation_budget_mib in (1000.0, 0.0):
        capture = capture_of(model, regularizer(partition="global"), activation_budget_mib=activation_budget_mib)
        with capture.step(step_rows(), trace=trace) as step:
            step.backward(model(inputs))
    assert trace.num_uses[0] > 20
    assert trace.num_uses[1] == 0


@pytest.mark.parametrize("activation_budget_mib", [1000.0, 0.0], ids=["kept", "computed again"])
@pytest.mark.parametrize(("products", "partition"), [("auto", "layer"), ("auto", "global"), ("sketch", "layer")])
@pytest.mark.parametrize("passing", [(False, True, True), (False, True, False), (True, False, False), (False, False, True)])
def test_layers_that_only_some_batches_reach(products, partition, activation_budget_mib, passing):
    """Also where no target example reaches them, or none in the last batch."""
    torch.manual_seed(5)
    model = zoo.VectorLosses(ByFlag()).double()
    inputs = zoo.inputs_for(model, N + M)
    batches = ((5, 6), (0, 1), (2, 3, 4))

    def losses(model, number):
        model.net.has_second = passing[number]
        return model(inputs[list(batches[number])])

    trained = copy.deepcopy(model)
    # As wide as the layers, sketches are exact.
    sketch = SketchSpec(kind="gaussian", left_width=6, right_width=6, seed=0, refresh_steps=None)
    reg = regularizer("subset", partition=partition, products=products)
    capture = capture_of(trained, reg, sketch=sketch, activation_budget_mib=activation_budget_mib)
    with capture.step(step_rows(), micro_batches=micro_batches(batches)) as step:
        for number in range(3):
            step.backward(lambda number=number: losses(trained, number))
    by_example = torch.cat([losses(model, number) for number in (1, 2, 0)])
    rows = per_sample.per_sample_grads(model, by_example)
    expected = per_sample.updates(rows, N, [1 / N] * N, feasible_set="subset", strength=0.5, partition=partition)
    assert_equal_grads({key: parameter.grad for key, parameter in trained.named_parameters()}, expected)


class HalfUsed(nn.Module):
    """A layer that is called twice, and whose second output goes nowhere."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        y = torch.tanh(self.first(x))
        self.first(y)
        return self.second(y)


@pytest.mark.parametrize("products", ["auto", "sketch"])
@pytest.mark.parametrize("activation_budget_mib", [1000.0, 0.0], ids=["kept", "computed again"])
def test_layers_of_which_the_loss_depends_on_some_uses_alone(activation_budget_mib, products):
    torch.manual_seed(5)
    model = zoo.VectorLosses(HalfUsed()).double()
    inputs = zoo.inputs_for(model, N + M)
    batches = ((5, 6), (0, 1), (2, 3, 4))
    sketch = SketchSpec(kind="gaussian", left_width=6, right_width=6, seed=0, refresh_steps=None)
    capture = capture_of(model, regularizer(products=products), sketch=sketch, activation_budget_mib=activation_budget_mib)
    with capture.step(step_rows(), micro_batches=micro_batches(batches)) as step:
        for examples in batches:
            step.backward(lambda examples=examples: model(inputs[list(examples)]))
    rows = per_sample.per_sample_grads(model, model(inputs))
    expected = per_sample.updates(rows, N, [1 / N] * N, feasible_set="subset", strength=0.5, partition="layer")
    assert_equal_grads({key: parameter.grad for key, parameter in model.named_parameters()}, expected)


@pytest.mark.parametrize("activation_budget_mib", [1000.0, 0.0], ids=["kept", "computed again"])
def test_dropout_is_the_same_when_batches_are_computed_again(activation_budget_mib):
    """The second pass meets the masks of the first, and leaves the random numbers that follow alone."""
    model = zoo.VectorLosses(nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), nn.Linear(6, 6), nn.Dropout(0.5))).double()
    inputs = zoo.inputs_for(model, N + M)
    batches = ((5, 6), (0, 1, 2), (3, 4))
    torch.manual_seed(7)
    by_example = torch.cat([model(inputs[list(examples)]) for examples in batches])[[2, 3, 4, 5, 6, 0, 1]]
    following = torch.rand(3)
    rows = per_sample.per_sample_grads(model, by_example)
    expected = per_sample.updates(rows, N, [1 / N] * N, feasible_set="subset", strength=0.5, partition="layer")
    torch.manual_seed(7)
    capture = capture_of(model, regularizer(), activation_budget_mib=activation_budget_mib)
    with capture.step(step_rows(), micro_batches=micro_batches(batches)) as step:
        for examples in batches:
            step.backward(lambda examples=examples: model(inputs[list(examples)]))
    assert_equal_grads({key: parameter.grad for key, parameter in model.named_parameters()}, expected)
    torch.testing.assert_close(torch.rand(3), following, rtol=0, atol=0)


@pytest.mark.parametrize("num_first", [1, 4])
def test_what_a_step_would_keep_is_expected_from_the_first_batch_by_example(num_first):
    """A first batch of few examples does not hide what the others will keep."""
    model = zoo.build("norms and biases")
    inputs = zoo.inputs_for(model, N + M)
    whole = GradientCapture(model, regularizer())
    trace = Kept()
    with whole.step(step_rows(), trace=trace) as step:
        step.backward(model(inputs))
    needed = trace.announced_bytes / 2**20
    is_recomputing = []
    for share in (0.99, 1.01):
        capture = capture_of(model, regularizer(), activation_budget_mib=share * needed)
        batches = (range(N + M - num_first, N + M), range(N + M - num_first))
        with capture.step(step_rows(), micro_batches=micro_batches(batches), trace=trace) as step:
            for examples in batches:
                step.backward(lambda examples=examples: model(inputs[list(examples)]))
        is_recomputing.append(trace.is_two_pass)
    assert is_recomputing == [True, False]
