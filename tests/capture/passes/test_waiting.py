"""Blocks that wait to be solved together: how many wait changes nothing, and what they keep is bounded."""

import copy

import pytest

from drpt.capture.capture import GradientCapture
from tests import zoo
from tests.capture.batches import LONG_DIRECT, LONG_REDUCED, Kept
from tests.capture.helpers import M, N, assert_equal_grads, captured_grads, regularizer, step_rows
from tests.reference import per_sample


@pytest.mark.parametrize("limits", [(1, 0), (2, 10**9), (10**6, 10**9)])
def test_how_many_blocks_are_solved_at_once_does_not_matter(limits, monkeypatch):
    model = zoo.build("qwen3 (q and k norms)")
    inputs = zoo.inputs_for(model, N + M)
    expected, _ = captured_grads(model, inputs, step_rows(), regularizer("hull"))
    monkeypatch.setattr("drpt.capture.passes.waiting._MOST_BLOCKS", limits[0])
    monkeypatch.setattr("drpt.capture.passes.waiting.WAITING_BYTES", limits[1])
    actual, report = captured_grads(model, inputs, step_rows(), regularizer("hull"))
    assert_equal_grads(actual, expected)
    assert len(report.blocks) == sum(len(group.blocks) for group in report.groups)


@pytest.mark.parametrize("products", ["auto", LONG_REDUCED, "pairwise", LONG_DIRECT])
@pytest.mark.parametrize("name", zoo.MODELS)
def test_blocks_solved_one_by_one_within_the_backward_pass_equal_definition(name, products, monkeypatch):
    """As in large models, whose blocks are too many or too large to wait for each other."""
    monkeypatch.setattr("drpt.capture.passes.waiting._MOST_BLOCKS", 1)
    model = zoo.build(name)
    inputs = zoo.inputs_for(model, N + M)
    trace = Kept()
    model_ = copy.deepcopy(model)
    with GradientCapture(model_, regularizer(products=products)).step(step_rows(), trace=trace) as step:
        step.backward(model_(inputs))
    assert len(step.report().groups) == len(step.report().blocks), "each by itself"
    actual = {key: parameter.grad for key, parameter in model_.named_parameters() if parameter.requires_grad}
    rows = per_sample.per_sample_grads(model, model(inputs))
    expected = per_sample.updates(rows, N, [1 / N] * N, feasible_set="subset", strength=0.5, partition="layer")
    assert_equal_grads(actual, expected)
    # Of the block that is solved, and of tied or reused parameters that wait for their first use.
    uses = {"used twice": 4, "tied with padding_idx and head bias": 4}.get(name, 3)
    assert max(trace.num_uses) <= uses, "what a block kept is freed when it is solved"


def test_what_waits_keeps_within_its_bound(monkeypatch):
    model = zoo.build("tied llama")
    inputs = zoo.inputs_for(model, N + M)
    bound = 8000
    monkeypatch.setattr("drpt.capture.passes.waiting.WAITING_BYTES", bound)
    trace = Kept()
    with GradientCapture(model, regularizer("hull")).step(step_rows(), trace=trace) as step:
        step.backward(model(inputs))
    assert max(trace.waiting_blocks) > 1
    assert all(sum(blocks[:-1]) <= bound for blocks in trace.waiting_bytes), "all but the block that filled it"
