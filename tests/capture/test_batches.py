"""However a step's examples are laid out, in batches padded or packed, kept or computed again, the update is the same."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from drpt.capture.capture import GradientCapture
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.micro_batch import MicroBatch
from drpt.capture.options import BaseWeights, Pool
from drpt.capture.products.sketch_spec import SketchSpec
from drpt.capture.trace import StepTrace
from drpt.data.batch import StepBatch, pack_rows, pad_rows
from drpt.modules.choices import choices_of_step, step_weights
from drpt.objectives.language_modeling import packed_sample_losses
from tests import zoo
from tests.capture.helpers import (
    CLOSE,
    M,
    N,
    assert_equal_grads,
    capture_of,
    captured_grads,
    micro_batches,
    regularizer,
    step_rows,
)
from tests.reference import per_sample
from tests.texts import encoded

LENGTHS = (7, 3, 5, 8, 4, 6, 3)  # of N + M examples
SKETCH = SketchSpec(kind="gaussian", left_width=3, right_width=2, seed=5, refresh_steps=None)
FAMILIES = ["tied llama", "qwen3 (q and k norms)", "gpt2 (conv1d, positions of all rows)", "gemma3 (windows, q and k norms)"]
EVERYTHING = ["subset", "hull"]
# Each method equals the definition in `test_capture` already; here the layouts are what is tried.
LONG_REDUCED, LONG_DIRECT = (pytest.param(method, marks=pytest.mark.long) for method in ("reduced", "direct"))


def texts():
    generator = torch.Generator().manual_seed(1)
    return [
        encoded(torch.randint(1, zoo.TOKENS, (length,), generator=generator).tolist(), [i > length // 4 for i in range(length)])
        for length in LENGTHS
    ]


def losses_of(model, tokens, num_examples):
    logits = model.lm(**tokens.model_inputs(), use_cache=False).logits
    return packed_sample_losses(logits, tokens.token_ids, tokens.loss_mask, tokens.example_of_token, num_examples=num_examples)


def updates_of(model, reg, batches, num_opened=None, rows=None, as_functions=False, **options):
    """What the capture leaves after these batches of one step."""
    model = copy.deepcopy(model)
    rows = rows or step_rows()
    capture = capture_of(model, reg, **{"check": False} | options)
    opened = [MicroBatch(example_of_token=tokens.example_of_token) for tokens in batches[:num_opened]]
    with capture.step(rows, micro_batches=opened) as step:
        for tokens in batches:

            def compute(tokens=tokens):
                return losses_of(model, tokens, rows.num_examples)[tokens.examples]

            step.backward(compute if as_functions else compute())
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}, step.report()


def one_batch(pack=False):
    return pack_rows(texts(), pad_token_id=0, max_length=11) if pack else pad_rows(texts(), pad_token_id=0)


def several_batches(*groups):
    rows = texts()
    return [pad_rows([rows[i] for i in group], pad_token_id=0, examples=group) for group in groups]


def reference(model, partition):
    rows = per_sample.per_sample_grads(model, losses_of(model, one_batch(), N + M))
    return per_sample.updates(rows, N, [1 / N] * N, feasible_set="subset", strength=0.5, partition=partition)


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
        again, _ = updates_of(model, reg, batches, as_functions=True, retain_mib=0.0, **options)
        assert_equal_grads(again, expected)
    else:
        with pytest.raises(ValueError, match="raise retain_mib, or take products=sketch"):
            updates_of(model, reg, batches, as_functions=True, retain_mib=0.0, **options)


def test_a_second_pass_needs_functions_and_targets_first():
    model = zoo.build("tied llama")
    with pytest.raises(ValueError, match=r"hand step\.backward a function"):
        updates_of(model, regularizer(), several_batches((5, 6), (0, 1, 2, 3, 4)), retain_mib=0.0)
    with pytest.raises(ValueError, match="put the target examples into the first batches"):
        updates_of(model, regularizer(), several_batches((0, 1, 2, 3, 4), (5, 6)), as_functions=True, retain_mib=0.0)


def test_one_backward_pass_too_many():
    model = zoo.build("tied llama")
    with pytest.raises(RuntimeError, match="opened for 1 micro-batch, and another"):
        updates_of(model, regularizer(), several_batches((0, 1, 2, 3, 4, 5, 6), (3, 4)), num_opened=1)


@pytest.mark.parametrize("products", ["auto", LONG_REDUCED, "pairwise", LONG_DIRECT, "sketch"])
@pytest.mark.parametrize("partition", ["block", "kind", "global"])
@pytest.mark.parametrize("name", ["tied llama", "checkpointed llama", "lora", "value head", "used twice"])
def test_recomputing_equals_retaining(name, partition, products):
    model = zoo.build(name)
    inputs = zoo.inputs_for(model, N + M)
    options = {"sketch": SKETCH} if products == "sketch" else {}
    reg = regularizer("hull", partition=partition, products=products)
    expected, _ = captured_grads(model, inputs, step_rows(), reg, **options)
    actual, report = captured_grads(model, inputs, step_rows(), reg, retain_mib=0.0, **options)
    assert_equal_grads(actual, expected)
    assert len(report.groups) == 1, "all blocks are solved together"


class Kept(StepTrace):
    """What a step keeps when it chooses coefficients: uses of all blocks, and bytes of the blocks that waited."""

    def __init__(self):
        self.num_uses, self.waiting_bytes, self.waiting_blocks = [], [], []

    def solving(self, ledger, blocks):
        self.num_uses.append(sum(len(uses) for entry in ledger.entries.values() for uses in entry.uses.values()))
        waiting = [ledger.entries[index] for index in blocks]
        self.waiting_blocks.append(len(blocks))
        self.waiting_bytes.append([sum(use.num_bytes for uses in entry.uses.values() for use in uses) for entry in waiting])

    def closed(self, ledger, *, is_two_pass):
        self.announced_bytes, self.is_two_pass = ledger.announced_bytes, is_two_pass


def test_recomputing_keeps_no_activations():
    model = zoo.build("tied llama")
    inputs = zoo.inputs_for(model, N + M)
    trace = Kept()
    for retain_mib in (1000.0, 0.0):
        capture = capture_of(model, regularizer(partition="global"), retain_mib=retain_mib)
        with capture.step(step_rows(), trace=trace) as step:
            step.backward(model(inputs))
    assert trace.num_uses[0] > 20
    assert trace.num_uses[1] == 0


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


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize(("feasible_set", "partition"), [("subset", "layer"), ("subset", "global")])
def test_each_micro_batch_choosing_for_itself_equals_definition(feasible_set, partition, is_packed):
    """`pool=micro`: the step's update is the sum of the batches' own, each times its share of the loss tokens."""
    model, texts_ = zoo.build("tied llama"), texts()
    batches = ((0, 3, 5), (1, 2, 4, 6))
    place = partial(pack_rows, max_length=16) if is_packed else pad_rows
    step = StepBatch(
        parts=[place([texts_[i] for i in group], pad_token_id=0, examples=group) for group in batches],
        example_ids=torch.arange(N),
        loss_tokens=torch.tensor([sum(text.loss_mask[1:]) for text in texts_[:N]]),
        num_target=M,
        step=0,
    )
    weights = step_weights(step, BaseWeights.TOKEN).double()
    trained = copy.deepcopy(model)
    capture = GradientCapture(trained.lm, regularizer(feasible_set, partition=partition))
    for choice in choices_of_step(step, Pool.MICRO, weights):
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


def test_random_choice_needs_nothing_kept():
    """Coefficients that do not depend on gradients are there before the backward pass, in every partition."""
    model = zoo.build("tied llama")
    inputs = zoo.inputs_for(model, N + M)
    reg = regularizer(score="random", partition="block")
    actual, report = captured_grads(model, inputs, step_rows(), reg, retain_mib=0.0)
    rows = per_sample.per_sample_grads(model, model(inputs))
    for block, figures in report.blocks:
        names = [name for name in actual if name.startswith(f"{block}.")]
        expected = per_sample.combine(rows[:N], figures.coefficients.general[0].tolist(), names)
        assert_equal_grads({name: actual[name] for name in names}, expected)


@pytest.mark.parametrize("retain_mib", [1000.0, 0.0])
@pytest.mark.parametrize("partition", ["layer", "global"])
def test_unregularized_parameters_get_the_general_mean(partition, retain_mib):
    model = zoo.build("value head")
    inputs = zoo.inputs_for(model, N + M)
    weights = torch.tensor([0.1, 0.3, 0.2, 0.15, 0.25], dtype=torch.float64)
    options = {"unregularized": ["value_head.*", "*layers.0*"], "retain_mib": retain_mib}
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
    capture = GradientCapture(model, regularizer(scope="paper"))
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


class ByFlag(nn.Module):
    """A second layer that some batches do not pass through."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.has_second = False

    def forward(self, x):
        x = self.first(x)
        return self.second(torch.tanh(x)) if self.has_second else x


@pytest.mark.parametrize("retain_mib", [1000.0, 0.0], ids=["kept", "computed again"])
@pytest.mark.parametrize(("products", "partition"), [("auto", "layer"), ("auto", "global"), ("sketch", "layer")])
@pytest.mark.parametrize("passing", [(False, True, True), (False, True, False), (True, False, False), (False, False, True)])
def test_layers_that_only_some_batches_reach(products, partition, retain_mib, passing):
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
    capture = capture_of(trained, reg, sketch=sketch, retain_mib=retain_mib)
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
@pytest.mark.parametrize("retain_mib", [1000.0, 0.0], ids=["kept", "computed again"])
def test_layers_of_which_the_loss_depends_on_some_uses_alone(retain_mib, products):
    torch.manual_seed(5)
    model = zoo.VectorLosses(HalfUsed()).double()
    inputs = zoo.inputs_for(model, N + M)
    batches = ((5, 6), (0, 1), (2, 3, 4))
    sketch = SketchSpec(kind="gaussian", left_width=6, right_width=6, seed=0, refresh_steps=None)
    capture = capture_of(model, regularizer(products=products), sketch=sketch, retain_mib=retain_mib)
    with capture.step(step_rows(), micro_batches=micro_batches(batches)) as step:
        for examples in batches:
            step.backward(lambda examples=examples: model(inputs[list(examples)]))
    rows = per_sample.per_sample_grads(model, model(inputs))
    expected = per_sample.updates(rows, N, [1 / N] * N, feasible_set="subset", strength=0.5, partition="layer")
    assert_equal_grads({key: parameter.grad for key, parameter in model.named_parameters()}, expected)


@pytest.mark.parametrize("retain_mib", [1000.0, 0.0], ids=["kept", "computed again"])
def test_dropout_is_the_same_when_batches_are_computed_again(retain_mib):
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
    capture = capture_of(model, regularizer(), retain_mib=retain_mib)
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
        capture = capture_of(model, regularizer(), retain_mib=share * needed)
        batches = (range(N + M - num_first, N + M), range(N + M - num_first))
        with capture.step(step_rows(), micro_batches=micro_batches(batches), trace=trace) as step:
            for examples in batches:
                step.backward(lambda examples=examples: model(inputs[list(examples)]))
        is_recomputing.append(trace.is_two_pass)
    assert is_recomputing == [True, False]


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
