"""The plan agrees with what the capture does in a step whose rows are all as long as the plan takes them to be."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import nn

from drpt.capture.capture import GradientCapture
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.gradients import PerExampleGradient
from drpt.capture.options import ProductsMethod
from drpt.capture.planning.plan import kept_examples, plan_of
from drpt.capture.planning.plan_lines import Handling
from drpt.capture.products.sketch_spec import SketchSpec
from drpt.capture.step_size import StepSize
from drpt.capture.trace import UNWATCHED, StepTrace
from drpt.models.load import apply_finetune
from drpt.models.spec import FinetuneSpec
from drpt.models.tiny import tiny_model
from drpt.objectives.language_modeling import sample_losses
from tests import zoo
from tests.capture.helpers import capture_of, micro_batches, regularizer, step_rows

N, M = 3, 2
FULL = {"method": "full", "rank": None, "alpha": None, "dropout": None}
LORA = {"method": "lora", "rank": 2, "alpha": 4.0, "dropout": 0.0}
SKETCH = SketchSpec(kind="gaussian", left_width=16, right_width=24, seed=0, refresh_steps=None)
MIB = 2**20


def model_of(finetune, *, is_tied=True):
    model = tiny_model()
    if not is_tied:
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    return apply_finetune(model, FinetuneSpec(**finetune, target_modules=None, default_lr=1e-4), seed=0)


class Watched(StepTrace):
    """What the capture did in one step."""

    def __init__(self):
        self.methods = Counter()  # (shape, method), or (shape, None) of small parameters

    def measured(self, uses, method):
        use = uses[0]
        shape = use.grads.shape[1:] if isinstance(use, PerExampleGradient) else (use.num_left, use.right.values.shape[1])
        self.methods[*shape, method] += 1

    def closed(self, ledger, *, is_two_pass):
        self.announced_bytes, self.is_recomputing = ledger.announced_bytes, is_two_pass


def take_step(model, reg, tokens, trace=UNWATCHED, *, num_micro_batches=1, sketch=None, activation_budget_mib=4096.0):
    ids = torch.randint(0, 250, (N + M, tokens), generator=torch.Generator().manual_seed(0))
    capture = capture_of(model, reg, sketch=sketch, activation_budget_mib=activation_budget_mib)
    examples = list(range(N + M))
    groups = [examples[part::num_micro_batches] for part in range(num_micro_batches)]
    with capture.step(step_rows(N, M), micro_batches=micro_batches(groups), trace=trace) as step:
        for group in groups:

            def losses(rows=ids[group]):
                logits = model(input_ids=rows, use_cache=False).logits
                return sample_losses(logits, rows, torch.ones_like(rows, dtype=torch.bool))

            step.backward(losses)


def planned(plan):
    methods = Counter()
    for line in plan.lines:
        if line.handling in {Handling.PRODUCTS, Handling.PER_EXAMPLE}:
            methods[*line.shape, line.method] += line.count
    return methods


@pytest.mark.parametrize("tokens", [4, 24, 96])
@pytest.mark.parametrize("finetune", [FULL, LORA], ids=["full", "lora"])
@pytest.mark.parametrize(
    ("feasible_set", "options"),
    [
        ("subset", {}),
        ("hull", {}),
        ("hull", {"strength": "auto"}),
        ("hull", {"partition": "global"}),
        ("subset", {"parameters": "linear_weights"}),
    ],
    ids=["subset", "hull", "auto", "global", "paper"],
)
def test_planned_methods_are_those_of_the_step(feasible_set, options, finetune, tokens):
    model, reg = model_of(finetune), regularizer(feasible_set, **options)
    plan = plan_of(model, reg, StepSize(num_general=N, num_target=M, row_tokens=tokens))
    watched = Watched()
    take_step(model, reg, tokens, watched)
    assert planned(plan) == watched.methods
    assert plan.announced_bytes == watched.announced_bytes
    assert plan.is_recomputing is watched.is_recomputing is False


def test_methods_differ_over_these_steps():
    """What the test above compares is no foregone conclusion."""
    found = set()
    for finetune in (FULL, LORA):
        for feasible_set in ("subset", "hull"):
            for tokens in (4, 24, 96):
                size = StepSize(num_general=N, num_target=M, row_tokens=tokens)
                plan = plan_of(model_of(finetune), regularizer(feasible_set), size)
                found |= {line.method for line in plan.lines}
    assert found == {None, ProductsMethod.REDUCED, ProductsMethod.PAIRWISE, ProductsMethod.DIRECT}


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("feasible_set", ["subset", "hull"])
def test_several_batches_are_planned_too(feasible_set, is_tied):
    model, reg = model_of(FULL, is_tied=is_tied), regularizer(feasible_set)
    plan = plan_of(model, reg, StepSize(num_general=N, num_target=M, row_tokens=24, num_micro_batches=5))
    watched = Watched()
    take_step(model, reg, 24, watched, num_micro_batches=5)
    assert planned(plan) == watched.methods
    assert plan.announced_bytes == watched.announced_bytes
    assert plan.kept_bytes == plan.announced_bytes


def test_second_pass_is_planned_where_one_is_taken():
    model, reg = model_of(FULL), regularizer("subset", partition="global")
    size = StepSize(num_general=N, num_target=M, row_tokens=24)
    budget = plan_of(model, reg, size).announced_bytes / MIB
    watched = Watched()
    for activation_budget_mib in (budget, budget - 1 / 1024):
        plan = plan_of(model, reg.with_options(activation_budget_mib=activation_budget_mib), size)
        take_step(model, reg, 24, watched, activation_budget_mib=activation_budget_mib)
        assert plan.is_recomputing is watched.is_recomputing is (activation_budget_mib < budget)
        assert not plan.is_refused
        assert (plan.kept_bytes == 0) is plan.is_recomputing


def test_batches_that_cannot_be_kept_are_measured_one_by_one_or_refused():
    size = StepSize(num_general=N, num_target=M, row_tokens=24, num_micro_batches=5)
    plan = plan_of(model_of(FULL), regularizer("subset").with_options(activation_budget_mib=0.0), size)
    assert plan.is_recomputing
    assert not plan.is_refused
    assert {line.method for line in plan.lines} == {ProductsMethod.REDUCED, None}
    assert plan_of(model_of(FULL), regularizer("hull").with_options(activation_budget_mib=0.0), size).is_refused
    by_sketch = regularizer("hull", products="sketch")
    assert not plan_of(model_of(FULL), by_sketch.with_options(sketch=SKETCH, activation_budget_mib=0.0), size).is_refused


def test_tied_parameter_has_both_uses_and_keeps_the_heads():
    """Head [259, 64] with 5 rows of 24 tokens: 120·(259 + 64) numbers wait for the table; 3·72·259·64 make a standard step."""
    plan = plan_of(model_of(FULL), regularizer(), StepSize(num_general=N, num_target=M, row_tokens=24))
    tied, others = plan.lines[0], plan.lines[1:]
    assert (tied.kind, tied.rule, tied.count) == ("embed_tokens = lm_head", "embedding + linear", 1)
    assert tied.kept_bytes == 4 * 120 * (259 + 64)
    assert tied.standard == 3 * 72 * 259 * 64
    assert all(line.kept_bytes == 0 for line in others)
    apart = plan_of(model_of(FULL, is_tied=False), regularizer(), plan.size)
    assert [line.kind for line in apart.lines if line.shape == (259, 64)] == ["embed_tokens", "lm_head"]
    assert apart.kept_bytes == 0


def test_lines_gather_what_is_alike():
    plan = plan_of(model_of(LORA), regularizer(), StepSize(num_general=N, num_target=M, row_tokens=24))
    lines = {line.kind: line for line in plan.lines}
    assert lines["q_proj.lora_A"].shape == (2, 64)
    assert lines["q_proj.lora_B"].shape == (64, 2)
    assert lines["q_proj.lora_A"].count == 2
    assert len(lines["q_proj.lora_A"].blocks) == 2
    assert lines["frozen layers"].count == 2 * 7 + 1
    by_kind = plan_of(model_of(LORA), regularizer(partition="kind"), plan.size)
    assert {line.blocks for line in by_kind.lines if line.kind == "q_proj.lora_A"} == {("q_proj.lora_A",)}


def test_step_without_its_products_is_4_rows_and_2_k_over_6_n():
    """k = 2 of n = 3, m = 2: (4·5 + 2·2) / (6·3); frozen layers have no update: 4·5 / (4·3)."""
    size = StepSize(num_general=N, num_target=M, row_tokens=24)
    full = plan_of(model_of(FULL), regularizer(strength=0.5), size)
    assert full.kept_examples == 2
    assert full.own / full.standard == pytest.approx(24 / 18)
    frozen = plan_of(model_of(LORA), regularizer(strength=0.5), size).lines[-1]
    assert frozen.own / frozen.standard == pytest.approx(20 / 12)


@pytest.mark.parametrize(
    ("feasible_set", "options", "count"),
    [
        ("subset", {"strength": 0.3}, 3),
        ("subset", {"strength": 0.3, "relaxation": 0.5}, 5),
        ("subset", {"strength": "auto"}, 12),
        ("greedy_euclidean", {"strength": 0.3}, 3),
        ("gradmatch", {"strength": 0.3}, 3),
        ("hull", {"strength": 0.3}, 10),
        ("ball", {"strength": 0.3}, 12),
        ("dual_cone", {}, 12),
    ],
)
def test_examples_that_take_part_in_the_update(feasible_set, options, count):
    size = StepSize(num_general=10, num_target=2, row_tokens=8)
    assert kept_examples(regularizer(feasible_set, **options), size) == count


@pytest.mark.parametrize("kind", ["gaussian", "row_mask"])
def test_sketches(monkeypatch, kind):
    """Axes of 259 (ids and vectors alike), 32, 64 and 96 get 16 columns on the left, of 64 and 96 24 on the right."""
    model, reg = model_of(FULL), regularizer("hull", products="sketch")
    sketch = replace(SKETCH, kind=kind)
    plan = plan_of(
        model, reg if sketch is None else reg.with_options(sketch=sketch), StepSize(num_general=N, num_target=M, row_tokens=24)
    )
    assert {line.widths for line in plan.lines if line.handling is Handling.PRODUCTS} == {(16, 24)}
    capture_matrices = {}
    real = GradientCapture.step

    def step(capture, *args, **kwargs):
        capture_matrices["all"] = capture._sketcher._matrices
        return real(capture, *args, **kwargs)

    monkeypatch.setattr(GradientCapture, "step", step)
    take_step(model, reg, 24, sketch=sketch)
    made = capture_matrices["all"].values()
    assert plan.sketch_bytes == sum(matrix.numel() * matrix.element_size() for matrix in made)


def test_no_products_and_nothing_kept():
    size = StepSize(num_general=N, num_target=0, row_tokens=24)
    plan = plan_of(model_of(FULL), regularizer(score="random"), size)
    assert plan.need is None
    assert {line.handling for line in plan.lines} == {Handling.KNOWN}
    assert plan.products.total == plan.kept_bytes == 0
    assert plan_of(model_of(FULL), regularizer("mean"), size).lines == ()


@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_awkward_model_has_a_plan(name):
    plan = plan_of(zoo.build(name), regularizer("hull"), StepSize(num_general=N, num_target=M, row_tokens=8))
    trained = {id(p) for p in zoo.build(name).parameters() if p.requires_grad}
    assert sum(line.count for line in plan.lines if line.handling is not Handling.FROZEN) == len(trained)


def test_a_model_without_rules_is_refused():
    with pytest.raises(UnsupportedModuleError, match="no rule"):
        plan_of(nn.LSTM(2, 2), regularizer(), StepSize(num_general=N, num_target=M, row_tokens=8))
