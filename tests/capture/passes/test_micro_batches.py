"""However a step's examples are laid out, in batches padded or packed, kept or computed again, the update is the same."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from drpt.capture.capture import GradientCapture
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.micro_batch import MicroBatch
from drpt.capture.options import BaseWeights, ChoiceScope
from drpt.capture.trace import StepTrace
from drpt.data.batch import StepBatch, pack_rows, pad_rows
from drpt.modules.choices import choices_of_step, step_weights
from tests import zoo
from tests.capture.batches import (
    EVERYTHING,
    LENGTHS,
    LONG_DIRECT,
    LONG_REDUCED,
    SKETCH,
    losses_of,
    one_batch,
    reference,
    several_batches,
    texts,
    updates_of,
)
from tests.capture.helpers import M, N, assert_equal_grads, regularizer, step_rows
from tests.reference import per_sample

FAMILIES = ["tied llama", "qwen3 (q and k norms)", "gpt2 (conv1d, positions of all rows)", "gemma3 (windows, q and k norms)"]


@pytest.mark.parametrize("products", ["auto", LONG_REDUCED, "pairwise", LONG_DIRECT])
@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("name", [*FAMILIES, "lora", "checkpointed llama"])
def test_padded_and_packed_batches_equal_definition(name, is_packed, products):
    model = zoo.build(name)
    batch = one_batch(is_packed)
    assert len(batch.token_ids) == (5 if is_packed else N + M)
    actual, _ = updates_of(model, regularizer(products=products), [batch])
    assert_equal_grads(actual, reference(model, "layer"))


@pytest.mark.parametrize("feasible_set", EVERYTHING)
@pytest.mark.parametrize("products", ["auto", "reduced", "pairwise", "direct", "sketch"])
def test_rows_in_any_order(products, feasible_set):
    """Places of examples are read from the tokens, not from the rows' numbers."""
    model = zoo.build("tied llama")
    batch, order = one_batch(), [3, 6, 0, 5, 2, 1, 4]
    turned = copy.copy(batch)
    for field in ("token_ids", "attention_mask", "loss_mask", "example_of_token"):
        setattr(turned, field, getattr(batch, field)[order])
    reg = regularizer(feasible_set, products=products)
    options = {"sketch": SKETCH} if products == "sketch" else {}
    expected, _ = updates_of(model, reg, [batch], **options)
    actual, _ = updates_of(model, reg, [turned], **options)
    assert_equal_grads(actual, expected)


def test_padding_costs_nothing_in_products():
    """Tokens of no example are not among those that are compared or added up."""
    model = zoo.build("tied llama")
    seen = []

    class Trace(StepTrace):
        def recorded(self, parameter, use):
            seen.append((parameter, use))

    capture = GradientCapture(model, regularizer())
    with capture.step(step_rows(), example_of_token=one_batch().example_of_token, trace=Trace()) as step:
        step.backward(losses_of(model, one_batch(), N + M))
    tokens = {use.segments.num_tokens for name, use in seen if "proj" in name and "norm" not in name}
    assert tokens == {sum(LENGTHS)}


def test_packed_rows_need_axis_1():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 6)

        def forward(self, x):
            return self.linear(x[:, :2])

    model = Turned().double()
    example_of_token = torch.tensor([[0, 0, 1, 1], [2, 2, 2, -1]])
    with (
        pytest.raises(UnsupportedModuleError, match=r"rows are packed with 4 tokens, and one axis"),
        GradientCapture(model, regularizer()).step(step_rows(n=2, m=1), example_of_token=example_of_token),
    ):
        model(torch.zeros(2, 4, 6, dtype=torch.float64))


@pytest.mark.parametrize("partition", ["layer", "kind", "global"])
@pytest.mark.parametrize("products", ["auto", LONG_REDUCED, "pairwise", LONG_DIRECT, "sketch"])
@pytest.mark.parametrize("feasible_set", EVERYTHING)
@pytest.mark.parametrize("name", ["tied llama", "lora"])
def test_several_batches_equal_one(name, feasible_set, products, partition):
    """Accumulation with one choice over all of it: kept, and where that is possible computed again."""
    model = zoo.build(name)
    reg = regularizer(feasible_set, products=products, partition=partition)
    options = {"sketch": SKETCH} if products == "sketch" else {}
    expected, _ = updates_of(model, reg, [one_batch()], **options)
    if feasible_set == "subset" and products != "sketch":
        assert_equal_grads(expected, reference(model, partition)) if partition != "kind" else None
    batches = several_batches((5, 6), (0, 3), (1, 2, 4))
    kept, _ = updates_of(model, reg, batches, **options)
    assert_equal_grads(kept, expected)
    is_possible = feasible_set == "subset" or products == "sketch"
    if is_possible:
        again, _ = updates_of(model, reg, batches, as_functions=True, activation_budget_mib=0.0, **options)
        assert_equal_grads(again, expected)
    else:
        with pytest.raises(ValueError, match="raise activation_budget_mib, or take products=sketch"):
            updates_of(model, reg, batches, as_functions=True, activation_budget_mib=0.0, **options)


def test_one_backward_pass_too_many():
    model = zoo.build("tied llama")
    with pytest.raises(RuntimeError, match="opened for 1 micro-batch, and another"):
        updates_of(model, regularizer(), several_batches((0, 1, 2, 3, 4, 5, 6), (3, 4)), num_opened=1)


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize(("feasible_set", "partition"), [("subset", "layer"), ("subset", "global")])
def test_each_micro_batch_choosing_for_itself_equals_definition(feasible_set, partition, is_packed):
    """`choice_scope=micro`: the step's update is the sum of the batches' own, each times its share of the loss tokens."""
    model, texts_ = zoo.build("tied llama"), texts()
    batches = ((0, 3, 5), (1, 2, 4, 6))
    place = partial(pack_rows, max_length=16) if is_packed else pad_rows
    step = StepBatch(
        micro_batches=[place([texts_[i] for i in group], pad_token_id=0, examples=group) for group in batches],
        example_ids=torch.arange(N),
        loss_tokens=torch.tensor([sum(text.loss_mask[1:]) for text in texts_[:N]]),
        num_target=M,
        step=0,
    )
    weights = step_weights(step, BaseWeights.TOKEN).double()
    trained = copy.deepcopy(model)
    capture = GradientCapture(trained.lm, regularizer(feasible_set, partition=partition))
    for choice in choices_of_step(step, ChoiceScope.MICRO, weights):
        micro_batch = MicroBatch(example_of_token=choice.micro_batches[0].example_of_token)
        with capture.step(choice.rows, micro_batches=[micro_batch], scale=choice.scale) as opened:
            opened.backward(losses_of(trained, choice.micro_batches[0], choice.rows.num_examples))
    grads = per_sample.per_sample_grads(model, losses_of(model, one_batch(), N + M))
    expected = None
    for group in batches:
        general = [i for i in group if i < N]
        share = float(weights[general].sum())
        own = (weights[general] / share).tolist()
        update = per_sample.updates(
            [grads[i] for i in group], len(general), own, feasible_set=feasible_set, strength=0.5, partition=partition
        )
        scaled = {key: share * grad for key, grad in update.items()}
        expected = scaled if expected is None else {key: expected[key] + grad for key, grad in scaled.items()}
    assert_equal_grads(
        {key: parameter.grad for key, parameter in trained.named_parameters() if parameter.requires_grad}, expected
    )


def test_pooled_activations_as_wide_as_a_row_is_long():
    """[row, width] is not taken for [row, token] where both happen to be equal."""

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(6, 4), nn.Linear(4, 3)

        def forward(self, x, counts):
            mean = (self.first(x) * counts[..., None]).sum(dim=1) / counts.sum(dim=1, keepdim=True)
            return self.second(torch.tanh(mean)).square().sum(dim=1)

    torch.manual_seed(2)
    model = Pooled().double()
    inputs = torch.randn(N + M, 4, 6, dtype=torch.float64)
    counts = torch.arange(4) < torch.tensor([4, 2, 3, 1, 4, 2, 3])[:, None]
    example_of_token = torch.where(counts, torch.arange(N + M)[:, None], -1)
    trained = copy.deepcopy(model)
    with GradientCapture(trained, regularizer()).step(step_rows(), example_of_token=example_of_token) as step:
        step.backward(trained(inputs, counts))
    rows = per_sample.per_sample_grads(model, model(inputs, counts))
    expected = per_sample.updates(rows, N, [1 / N] * N, feasible_set="subset", strength=0.5, partition="layer")
    assert_equal_grads({key: parameter.grad for key, parameter in trained.named_parameters()}, expected)
