"""Mixtures of experts whose experts and router are trained: every way to products and updates equals the definition."""

import pytest
import torch

from drpt.capture.capture import GradientCapture
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.pool import GradientPool
from drpt.capture.products.sketch_spec import SketchSpec
from tests import zoo
from tests.capture.batches import one_batch, reference, several_batches, updates_of
from tests.capture.helpers import M, N, captured_grads, regularizer, step_rows
from tests.capture.layers.test_families import family
from tests.capture.layers.test_own_code import ROUNDED_INSIDE
from tests.capture.test_target import given_grads
from tests.reference import per_sample

EXACT = SketchSpec(kind="gaussian", left_width=100, right_width=100, seed=0, refresh_steps=None)  # wider than every side
NAMES = ["Mixtral", "GptOss"]


def assert_close(found, expected):
    """Routers round to float32 inside."""
    assert found.keys() == expected.keys()
    for name, grad in expected.items():
        actual = torch.zeros_like(grad) if found[name] is None else found[name]
        torch.testing.assert_close(actual, grad, **ROUNDED_INSIDE, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("products", ["auto", "reduced", "pairwise", "direct"])
@pytest.mark.parametrize("name", NAMES)
def test_gramian_equals_definition(name, products):
    model = family(name)
    inputs = zoo.inputs_for(model, N + M)
    _, report = captured_grads(model, inputs, step_rows(), regularizer("cone", products=products))
    rows = per_sample.per_sample_grads(model, model(inputs))
    blocks = {block[0].rsplit(".", 1)[0]: block for block in per_sample.blocks_of(list(rows[0]), "layer")}
    assert any("experts" in block for block, _ in report.blocks)
    for block, figures in report.blocks:
        expected = [[per_sample.inner(a, b, blocks[block]) for b in rows[:N]] for a in rows[:N]]
        expected = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(figures.products.gramian[0], expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("products", ["auto", "reduced", "pairwise", "direct"])
@pytest.mark.parametrize("name", NAMES)
def test_padded_batches_equal_definition(name, products):
    model = family(name)
    actual, _ = updates_of(model, regularizer(products=products), [one_batch()])
    assert_close(actual, reference(model, "layer"))


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("partition", ["layer", "global"])
def test_packed_batches_equal_padded_ones(is_packed, partition):
    model = family("Mixtral")
    actual, _ = updates_of(model, regularizer(partition=partition), [one_batch(is_packed)])
    assert_close(actual, reference(model, partition))


@pytest.mark.parametrize("products", ["auto", "sketch"])
@pytest.mark.parametrize("activation_budget_mib", [1000.0, 0.0], ids=["kept", "computed again"])
def test_several_batches_equal_one(products, activation_budget_mib):
    model = family("Mixtral")
    options = {"sketch": EXACT} if products == "sketch" else {}
    reg = regularizer(products=products)
    batches = several_batches([5, 6], [0, 1, 2], [3, 4])
    actual, _ = updates_of(model, reg, batches, as_functions=True, activation_budget_mib=activation_budget_mib, **options)
    assert_close(actual, reference(model, "layer"))


@pytest.mark.parametrize("feasible_set", ["subset", "hull"])
def test_sketches_without_loss_equal_exact_products(feasible_set):
    model = family("GptOss")
    inputs = zoo.inputs_for(model, N + M)
    exact, _ = captured_grads(model, inputs, step_rows(), regularizer(feasible_set))
    sketched, _ = captured_grads(model, inputs, step_rows(), regularizer(feasible_set, products="sketch"), sketch=EXACT)
    # Hulls are solved to a residual: their coefficients agree to half its digits.
    for name, grad in exact.items():
        torch.testing.assert_close(sketched[name], grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("products", ["auto", "sketch"])
def test_a_given_target_gradient_equals_target_rows(products):
    model = family("Mixtral")
    inputs = zoo.inputs_for(model, N + M)
    options = {"sketch": EXACT} if products == "sketch" else {}
    reg = regularizer("hull", strength=0.4, products=products)
    expected, _ = captured_grads(model, inputs, step_rows(), reg, **options)
    actual, _ = given_grads(model, inputs, reg, **options)
    for name, grad in expected.items():
        torch.testing.assert_close(actual[name], grad, rtol=1e-4, atol=1e-6)


def test_pools_of_gradients_are_exact_without_a_width():
    model = family("Mixtral")
    inputs = zoo.inputs_for(model, N + M)
    pool = GradientPool(model, num_examples=N + M, width=None, seeds=[0])
    for places in ([0, 2, 4, 6], [1, 3, 5]):
        pool.add(lambda places=places: model(tuple(tensor[places] for tensor in inputs)), torch.tensor(places))
    rows = per_sample.per_sample_grads(model, model(inputs))
    for name, found in pool.gradients(0).items():
        expected = torch.tensor([[per_sample.inner(a, b, [name]) for b in rows] for a in rows], dtype=torch.float64)
        torch.testing.assert_close(found @ found.T, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_frozen_experts_leave_the_router_trained():
    model = family("Mixtral")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("experts" not in name or "down_proj" in name)
    inputs = zoo.inputs_for(model, N + M)
    actual, _ = captured_grads(model, inputs, step_rows(), regularizer(), check=True)
    rows = per_sample.per_sample_grads(model, model(inputs))
    assert_close(actual, per_sample.updates(rows, N, [1 / N] * N, feasible_set="subset", strength=0.5, partition="layer"))


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm", "batched_mm"])
def test_whichever_way_the_model_itself_takes_passes_the_check(implementation):
    model = family("Mixtral").float()
    model.lm.config._experts_implementation = implementation
    for module in model.modules():
        if hasattr(module, "_is_expert_parallel"):
            module.config._experts_implementation = implementation
    with GradientCapture(model, regularizer()).step(step_rows()) as step:
        step.backward(model(zoo.inputs_for(model, N + M)))


def test_experts_over_processes_are_refused():
    model = family("Mixtral")
    for module in model.modules():
        if hasattr(module, "_is_expert_parallel"):
            module._is_expert_parallel = True
    with (
        pytest.raises(UnsupportedModuleError, match="spread over processes"),
        GradientCapture(model, regularizer()).step(step_rows()),
    ):
        pass
