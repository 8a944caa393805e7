"""Coefficients that depend on no gradient: random choices, unregularized parameters, the scale of the update."""

import pytest
import torch

from drpt.capture.capture import GradientCapture
from tests import zoo
from tests.capture.batches import losses_of, one_batch, updates_of
from tests.capture.helpers import CLOSE, M, N, assert_equal_grads, capture_of, captured_grads, regularizer, step_rows
from tests.reference import per_sample


def test_random_choice_needs_nothing_kept():
    """Coefficients that do not depend on gradients are there before the backward pass, in every partition."""
    model = zoo.build("tied llama")
    inputs = zoo.inputs_for(model, N + M)
    reg = regularizer(score="random", partition="block")
    actual, report = captured_grads(model, inputs, step_rows(), reg, activation_budget_mib=0.0)
    rows = per_sample.per_sample_grads(model, model(inputs))
    for block, figures in report.blocks:
        names = [name for name in actual if name.startswith(f"{block}.")]
        expected = per_sample.combine(rows[:N], figures.coefficients.general[0].tolist(), names)
        assert_equal_grads({name: actual[name] for name in names}, expected)


@pytest.mark.parametrize("activation_budget_mib", [1000.0, 0.0])
@pytest.mark.parametrize("partition", ["layer", "global"])
def test_unregularized_parameters_get_the_general_mean(partition, activation_budget_mib):
    model = zoo.build("value head")
    inputs = zoo.inputs_for(model, N + M)
    weights = torch.tensor([0.1, 0.3, 0.2, 0.15, 0.25], dtype=torch.float64)
    options = {"unregularized": ["value_head.*", "*layers.0*"], "activation_budget_mib": activation_budget_mib}
    actual, report = captured_grads(model, inputs, step_rows(weights=weights), regularizer(partition=partition), **options)
    rows = per_sample.per_sample_grads(model, model(inputs))
    free = [name for name in actual if name.startswith("value_head") or "layers.0" in name]
    assert free
    expected = per_sample.combine(rows[:N], weights.tolist(), free)
    assert_equal_grads({name: actual[name] for name in free}, expected)
    others = {name: grad for name, grad in actual.items() if name not in free}
    own = [{name: row[name] for name in others} for row in rows]
    chosen = per_sample.updates(own, N, weights.tolist(), feasible_set="subset", strength=0.5, partition=partition)
    assert_equal_grads(others, chosen)
    assert all("layers.0" not in name and "value_head" not in name for name, _ in report.blocks)


def test_scope_of_the_paper_leaves_tables_norms_and_biases_out():
    model = zoo.build("untied llama with biases")
    capture = GradientCapture(model, regularizer(parameters="linear_weights"))
    left_out = {name.split(".")[-2] + "." + name.split(".")[-1] for name in capture.unregularized}
    assert left_out == {
        "embed_tokens.weight",
        "input_layernorm.weight",
        "post_attention_layernorm.weight",
        "norm.weight",
        *(f"{layer}.bias" for layer in ("q_proj", "k_proj", "v_proj", "o_proj")),
    }


def test_pattern_that_matches_nothing_is_named():
    with pytest.raises(ValueError, match=r"unregularized='value_haed\.\*' matches no trained parameter"):
        capture_of(zoo.build("value head"), regularizer(), unregularized=["value_haed.*"])


def test_scale_multiplies_the_update():
    model = zoo.build("tied llama")
    once, _ = updates_of(model, regularizer(), [one_batch()])
    capture = GradientCapture(model, regularizer())
    for share in (0.25, 0.75):
        with capture.step(step_rows(), example_of_token=one_batch().example_of_token, scale=share) as step:
            step.backward(losses_of(model, one_batch(), N + M))
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, once[name], **CLOSE)
