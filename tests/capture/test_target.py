"""A target gradient that is given does what the target examples that it comes from would do in the batch."""

import copy

import pytest
import torch
from torch import nn

from drpt.capture.capture import GradientCapture
from drpt.capture.products.sketch_spec import SketchSpec
from drpt.capture.target import TargetGradient
from drpt.data.batch import pack_rows, pad_rows
from tests import zoo
from tests.capture.batches import losses_of, texts
from tests.capture.helpers import M, N, assert_equal_grads, capture_of, captured_grads, micro_batches, regularizer, step_rows

SKETCH = SketchSpec(kind="gaussian", left_width=3, right_width=2, seed=5, refresh_steps=None)
SETS = {
    "whole_space": {},
    "mean": {},
    "subset": {},
    "greedy_euclidean": {},
    "filter": {"strength": 0.0},
    "hull": {"strength": 0.4},
    "cone": {},
    "span": {"strength": 0.1},
    "halfspace": {},
    "dual_cone": {},
    "ball": {"strength": 0.3},
    "pcgrad": {},
    "cagrad": {"strength": 0.5},
}


def part(inputs, examples):
    if isinstance(inputs, tuple):
        return tuple(tensor[examples] for tensor in inputs)
    return inputs[examples]


def given_grads(model, inputs, reg, *, step_index=0, parts=None, weights=None, **options):
    """The target examples' mean gradient is taken first; the step then has the general examples alone."""
    model = copy.deepcopy(model)
    capture = capture_of(model, reg, **{"check": False} | options)
    target = capture.target_gradient(lambda: model(part(inputs, slice(N, N + M))).mean().backward())
    assert all(parameter.grad is None for parameter in model.parameters())
    rows = step_rows(m=0, step_index=step_index, weights=weights)
    if not reg.needs_general:
        rows = step_rows(n=0, m=0, step_index=step_index)
        parts = []
    parts = [list(range(N))] if parts is None else parts
    with capture.step(rows, micro_batches=micro_batches(parts), target=target) as step:
        for examples in parts:
            step.backward(lambda examples=examples: model(part(inputs, examples)))
        if not parts:
            step.finish()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}, step.report()


@pytest.mark.parametrize("feasible_set", SETS)
@pytest.mark.parametrize("name", zoo.MODELS)
def test_given_target_equals_target_rows(name, feasible_set):
    model = zoo.build(name)
    inputs = zoo.inputs_for(model, N + M)
    reg = regularizer(feasible_set, **SETS[feasible_set])
    expected, with_rows = captured_grads(model, inputs, step_rows(), reg)
    actual, report = given_grads(model, inputs, reg)
    assert_equal_grads(actual, expected)
    # Coefficients may differ where gradients are dependent; what they make is the same.
    norm = torch.stack([grad.norm() for grad in expected.values() if grad is not None]).norm().item()
    known, found = with_rows.metrics(update_norm=norm), report.metrics(update_norm=norm)
    for figure in ("train/update_norm_ratio/mean", "train/update_cosine/mean"):
        assert (figure in found) == (figure in known)
        assert found.get(figure, 0.0) == pytest.approx(known.get(figure, 0.0), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("partition", ["block", "kind", "global"])
@pytest.mark.parametrize("products", ["auto", "reduced", "pairwise", "direct", "sketch"])
@pytest.mark.parametrize("feasible_set", ["subset", "hull", "ball"])
@pytest.mark.parametrize("name", ["tied llama", "lora", "norms and biases"])
def test_partitions_and_products(name, feasible_set, products, partition):
    model = zoo.build(name)
    inputs = zoo.inputs_for(model, N + M)
    reg = regularizer(feasible_set, partition=partition, products=products, relaxation=0.2)
    options = {"sketch": SKETCH} if products == "sketch" else {}
    expected, _ = captured_grads(model, inputs, step_rows(), reg, **options)
    actual, _ = given_grads(model, inputs, reg, **options)
    assert_equal_grads(actual, expected)


@pytest.mark.parametrize("activation_budget_mib", [100.0, 0.0])
@pytest.mark.parametrize(
    ("feasible_set", "products"), [("subset", "auto"), ("hull", "sketch"), ("mean", "auto"), ("ball", "auto")]
)
@pytest.mark.parametrize("partition", ["layer", "global"])
@pytest.mark.parametrize("parts", [[[0, 3], [1, 2, 4]], [[0, 1, 2, 3, 4]]])
def test_several_batches_kept_or_computed_again(feasible_set, products, partition, activation_budget_mib, parts):
    model = zoo.build("tied llama")
    inputs = zoo.inputs_for(model, N + M)
    reg = regularizer(feasible_set, products=products, partition=partition)
    options = {"sketch": SKETCH} if products == "sketch" else {}
    expected, _ = captured_grads(model, inputs, step_rows(), reg, **options)
    actual, _ = given_grads(model, inputs, reg, parts=parts, activation_budget_mib=activation_budget_mib, **options)
    assert_equal_grads(actual, expected)


@pytest.mark.parametrize("is_packed", [False, True])
def test_padded_and_packed_batches(is_packed):
    model = zoo.build("tied llama")
    both = pad_rows(texts(), pad_token_id=0)
    reg = regularizer("hull")
    expected = copy.deepcopy(model)
    capture = GradientCapture(expected, reg)
    with capture.step(step_rows(), example_of_token=both.example_of_token) as step:
        step.backward(losses_of(expected, both, N + M))
    actual = copy.deepcopy(model)
    capture = GradientCapture(actual, reg)
    targets = pad_rows(texts()[N:], pad_token_id=0)
    v = capture.target_gradient(lambda: losses_of(actual, targets, M).mean().backward())
    general = texts()[:N]
    batch = pack_rows(general, pad_token_id=0, max_length=11) if is_packed else pad_rows(general, pad_token_id=0)
    with capture.step(step_rows(m=0), example_of_token=batch.example_of_token, target=v) as step:
        step.backward(losses_of(actual, batch, N))
    for (name, one), other in zip(expected.named_parameters(), actual.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-11, msg=name)


def test_unregularized_parameters_get_the_general_mean():
    model = zoo.build("norms and biases")
    inputs = zoo.inputs_for(model, N + M)
    options = {"unregularized": [next(name for name, p in model.named_parameters() if p.requires_grad)]}
    reg = regularizer("ball")
    expected, _ = captured_grads(model, inputs, step_rows(), reg, **options)
    actual, _ = given_grads(model, inputs, reg, **options)
    assert_equal_grads(actual, expected)


class TwoHeads(nn.Module):
    """One of two heads is used; the target's examples use the other."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)

    def forward(self, inputs, use_second=False):
        head = self.second if use_second else self.first
        return head(inputs).square().sum(dim=(1, 2))


@pytest.mark.parametrize("partition", ["layer", "global"])
@pytest.mark.parametrize("feasible_set", ["ball", "hull", "subset"])
def test_parameters_that_only_the_target_uses(feasible_set, partition):
    torch.manual_seed(0)
    model = TwoHeads().double()
    inputs = torch.randn(N, 4, 3, dtype=torch.float64)
    reg = regularizer(feasible_set, partition=partition)
    capture = GradientCapture(model, reg)
    v = capture.target_gradient(lambda: model(inputs[:2], use_second=True).mean().backward())
    assert set(v.grads) == {"second.weight"}
    with capture.step(step_rows(m=0), target=v) as step:
        step.backward(model(inputs))
    total = sum(block.products.target_sq for _, block in step.report().blocks if block.products is not None)
    if reg.needs_products:
        torch.testing.assert_close(total, v.grads["second.weight"].square().sum()[None], rtol=1e-12, atol=0)
    if feasible_set == "ball":
        torch.testing.assert_close(model.second.weight.grad, 0.5 * v.grads["second.weight"], rtol=1e-12, atol=0)
        assert model.first.weight.grad.any()
    else:
        assert model.second.weight.grad is None or not model.second.weight.grad.any()


def test_scale_and_earlier_gradients():
    model = zoo.build("lora")
    inputs = zoo.inputs_for(model, N + M)
    reg = regularizer("ball")
    once, _ = given_grads(model, inputs, reg)
    model.zero_grad()
    capture = GradientCapture(model, reg)
    before = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
            before[name] = parameter.grad
    v = capture.target_gradient(lambda: model(part(inputs, slice(N, N + M))).mean().backward())
    assert all(parameter.grad is before[name] for name, parameter in model.named_parameters() if parameter.requires_grad)
    with capture.step(step_rows(m=0), scale=0.5, target=v) as step:
        step.backward(model(part(inputs, slice(0, N))))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, 1 + 0.5 * once[name], rtol=1e-9, atol=1e-11, msg=name)


def test_gradients_of_another_precision():
    """A float32 model under a float64 v, and bfloat16 weights under a float32 one."""
    for weights, given in ((torch.float32, torch.float64), (torch.bfloat16, torch.float32)):
        model = zoo.build("tied llama").to(weights)
        inputs = zoo.inputs_for(model, N + M)
        capture = GradientCapture(model, regularizer("hull", relaxation=0.5))
        found = capture.target_gradient(lambda m=model, i=inputs: m(part(i, slice(N, N + M))).float().mean().backward())
        v = TargetGradient({name: grad.to(given) for name, grad in found.grads.items()})
        with capture.step(step_rows(m=0, weights=torch.full((N,), 1 / N)), target=v) as step:
            step.backward(model(part(inputs, slice(0, N))))
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad.dtype == weights, name
                assert torch.isfinite(parameter.grad).all(), name


def test_what_does_not_fit_is_refused():
    model = zoo.build("norms and biases")
    name, parameter = next((name, p) for name, p in model.named_parameters() if p.requires_grad)
    capture = GradientCapture(model, regularizer())
    good = TargetGradient({name: torch.zeros_like(parameter)})
    cases = [
        (step_rows(), good, "2 target examples, too"),
        (step_rows(m=0), TargetGradient({"nothing": torch.zeros(1)}), "nothing is no trained parameter"),
        (step_rows(m=0), TargetGradient({name: torch.zeros(1, 1, 1)}), r"shape \(1, 1, 1\), and the parameter"),
    ]
    for rows, target, said in cases:
        with pytest.raises(ValueError, match=said), capture.step(rows, target=target):
            pass
    automatic = GradientCapture(model, regularizer("hull", relaxation="auto"))
    with pytest.raises(ValueError, match="comes as one"), automatic.step(step_rows(m=0), target=good):
        pass
    with pytest.raises(RuntimeError, match="without examples"), capture.step(step_rows(m=0), target=good) as step:
        step.finish()


def test_checkpoint_keeps_the_gradients():
    v = TargetGradient({"weight": torch.arange(3.0)})
    assert torch.equal(TargetGradient(v.state_dict()).grads["weight"], torch.arange(3.0))
