"""The update that the capture leaves in ``.grad`` equals the definition, from one backward pass a row."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from drpt.capture.capture import GradientCapture
from drpt.capture.rows import StepRows
from drpt.geometry.products import GeneralRows
from tests import zoo
from tests.capture.helpers import CLOSE, M, N, assert_equal_grads, captured_grads, regularizer, step_rows
from tests.reference import per_sample
from tests.reference.quadratic_program import solve_by_enumeration


@pytest.mark.parametrize("products", ["auto", "reduced", "pairwise", "direct"])
@pytest.mark.parametrize("partition", ["layer", "global"])
@pytest.mark.parametrize("name", zoo.MODELS)
def test_subset_equals_definition(name, partition, products):
    model = zoo.build(name)
    inputs = zoo.inputs_for(model, N + M)
    weights = torch.tensor([0.1, 0.3, 0.2, 0.15, 0.25], dtype=torch.float64)
    reg = regularizer(partition=partition, products=products)
    actual, _ = captured_grads(model, inputs, step_rows(weights=weights), reg)
    rows = per_sample.per_sample_grads(model, model(inputs))
    expected = per_sample.updates(rows, N, weights.tolist(), feasible_set="subset", strength=0.5, partition=partition)
    assert_equal_grads(actual, expected)


@pytest.mark.parametrize("name", zoo.MODELS)
@pytest.mark.parametrize(
    ("feasible_set", "options"),
    [
        ("mean", {}),
        ("whole_space", {}),
        ("ball", {"strength": 0.3}),
        ("subset", {"strength": 0.2, "relaxation": 0.4}),
        ("subset", {"strength": 1.0}),
    ],
)
def test_other_sets_equal_definition(name, feasible_set, options):
    model = zoo.build(name)
    inputs = zoo.inputs_for(model, N + M, seed=3)
    actual, _ = captured_grads(model, inputs, step_rows(), regularizer(feasible_set, **options))
    rows = per_sample.per_sample_grads(model, model(inputs))
    expected = per_sample.updates(rows, N, [1 / N] * N, feasible_set=feasible_set, partition="layer", **options)
    assert_equal_grads(actual, expected)


@pytest.mark.parametrize("name", zoo.MODELS)
def test_products_equal_definition(name):
    model = zoo.build(name)
    inputs = zoo.inputs_for(model, N + M)
    _, report = captured_grads(model, inputs, step_rows(), regularizer())
    rows = per_sample.per_sample_grads(model, model(inputs))
    v = per_sample.combine(rows[N:], [1 / M] * M, list(rows[0]))
    blocks = {block[0].rsplit(".", 1)[0]: block for block in per_sample.blocks_of(list(rows[0]), "layer")}
    assert report.blocks
    for block, figures in report.blocks:
        names = blocks[block]
        expected = torch.tensor([per_sample.inner(row, v, names) for row in rows[:N]], dtype=torch.float64)
        torch.testing.assert_close(figures.products.alignment[0], expected, **CLOSE)
        target_sq = torch.tensor(per_sample.inner(v, v, names), dtype=torch.float64)
        torch.testing.assert_close(figures.products.target_sq[0], target_sq, **CLOSE)


def assert_gramians_equal_definition(name, products):
    model = zoo.build(name)
    inputs = zoo.inputs_for(model, N + M)
    _, report = captured_grads(model, inputs, step_rows(), regularizer("cone", products=products))
    rows = per_sample.per_sample_grads(model, model(inputs))
    blocks = {block[0].rsplit(".", 1)[0]: block for block in per_sample.blocks_of(list(rows[0]), "layer")}
    assert report.blocks
    for block, figures in report.blocks:
        expected = [[per_sample.inner(a, b, blocks[block]) for b in rows[:N]] for a in rows[:N]]
        torch.testing.assert_close(figures.products.gramian[0], torch.tensor(expected, dtype=torch.float64), **CLOSE)


@pytest.mark.parametrize("products", ["auto", "reduced", "pairwise", "direct"])
@pytest.mark.parametrize("name", zoo.MODELS)
def test_gramian_equals_definition(name, products):
    assert_gramians_equal_definition(name, products)


@pytest.mark.parametrize("products", ["pairwise", "direct"])
@pytest.mark.parametrize("name", ["tied llama", "lora", "tied with padding_idx and head bias"])
def test_gramian_within_a_budget_equals_definition(name, products, monkeypatch):
    monkeypatch.setattr("drpt.capture.products.direct._HELD_ELEMENTS", 60)
    monkeypatch.setattr("drpt.capture.products.pairwise._HELD_PRODUCTS", 60)
    assert_gramians_equal_definition(name, products)


@pytest.mark.parametrize("products", ["auto", "direct"])
@pytest.mark.parametrize("name", zoo.MODELS)
def test_target_spread_equals_definition(name, products):
    """Automatic strengths look at target examples one by one; the update is that of the strength they choose."""
    model = zoo.build(name)
    inputs = zoo.inputs_for(model, N + M)
    reg = regularizer("ball", strength="auto", products=products, auto_memory=0.0)
    actual, report = captured_grads(model, inputs, step_rows(), reg)
    rows = per_sample.per_sample_grads(model, model(inputs))
    blocks = {block[0].rsplit(".", 1)[0]: block for block in per_sample.blocks_of(list(rows[0]), "layer")}
    mean = per_sample.combine(rows[:N], [1 / N] * N, list(rows[0]))
    target = per_sample.combine(rows[N:], [1 / M] * M, list(rows[0]))
    expected = {}
    for block, figures in report.blocks:
        names, found = blocks[block], figures.products
        for products_found, left, right in (
            (found.cross, rows[:N], rows[N:]),
            (found.target_gramian, rows[N:], rows[N:]),
            (found.gramian, rows[:N], rows[:N]),
        ):
            inner = [[per_sample.inner(a, b, names) for b in right] for a in left]
            torch.testing.assert_close(products_found[0], torch.tensor(inner, dtype=torch.float64), **CLOSE)
        gap = {key: target[key] - mean[key] for key in names}
        spread = [{key: row[key] - target[key] for key in names} for row in rows[N:]]
        noise = sum(per_sample.inner(d, d, names) for d in spread) / (M * (M - 1))
        size = per_sample.inner(gap, gap, names)
        share = min(noise / size, 1.0) if size > 0 else 1.0
        assert float(figures.coefficients.strength) == pytest.approx(share, rel=1e-7)
        expected |= {key: share * mean[key] + (1 - share) * target[key] for key in names}
    expected |= {key: torch.zeros_like(mean[key]) for key in mean.keys() - expected.keys()}
    assert_equal_grads(actual, expected)


@pytest.mark.parametrize("name", ["tied llama", "lora", "norms and biases"])
@pytest.mark.parametrize("partition", ["layer", "global"])
@pytest.mark.parametrize("feasible_set", ["hull", "cone"])
def test_convex_update_is_the_closest_point(name, partition, feasible_set):
    """From explicit gradients, with every way in which bounds can hold tried out."""
    model = zoo.build(name)
    inputs = zoo.inputs_for(model, N + M)
    actual, _ = captured_grads(model, inputs, step_rows(), regularizer(feasible_set, strength=0.5, partition=partition))
    rows = per_sample.per_sample_grads(model, model(inputs))
    for block in per_sample.blocks_of(list(rows[0]), partition):
        flat = torch.stack([torch.cat([row[key].flatten() for key in block]) for row in rows])
        target = flat[N:].mean(dim=0)
        cap = torch.full((N,), 1 / N / 0.5, dtype=torch.float64) if feasible_set == "hull" else None
        coefficients, _ = solve_by_enumeration(flat[:N], target, cap=cap, sums_to_one=feasible_set == "hull")
        update = torch.cat([actual[key].flatten() for key in block])
        # The objective is flat near its minimum: coefficients agree to half the digits of the residual.
        torch.testing.assert_close(update, coefficients @ flat[:N], rtol=1e-5, atol=1e-6 * float(flat.abs().max()))


@pytest.mark.parametrize("partition", ["block", "kind"])
def test_middle_partitions_choose_within_their_blocks(partition):
    model = zoo.build("tied llama")
    inputs = zoo.inputs_for(model, N + M)
    actual, report = captured_grads(model, inputs, step_rows(), regularizer(partition=partition))
    rows = per_sample.per_sample_grads(model, model(inputs))
    for block, figures in report.blocks:
        if partition == "block":
            names = [name for name in actual if name.startswith(f"{block}.")]
        else:
            names = [name for name in actual if name.split(".")[-2] == block]
        assert names, block
        expected = per_sample.combine(rows[:N], figures.coefficients.general[0].tolist(), names)
        assert_equal_grads({name: actual[name] for name in names}, expected)
        own = [{name: row[name] for name in names} for row in rows]
        assert_equal_grads(expected, per_sample.updates(own, N, [1 / N] * N, feasible_set="subset", strength=0.5))


AS_WRITTEN = {
    "llama": lambda: zoo.llama(tied=True, as_written=True),
    "qwen3": lambda: zoo.llama(tied=False, norms="qwen3", as_written=True),
    **{name: partial(zoo.family, name, as_written=True) for name in ("Qwen2", "GPT2", "GPTNeoX", "Gemma", "Gemma3")},
}


@pytest.mark.parametrize("build", AS_WRITTEN.values(), ids=AS_WRITTEN.keys())
def test_norms_as_transformers_writes_them(build):
    """They round to float32 inside, so only its digits agree."""
    torch.manual_seed(0)
    model = build().double()
    inputs = zoo.inputs_for(model, N + M)
    actual, _ = captured_grads(model, inputs, step_rows(), regularizer())
    rows = per_sample.per_sample_grads(model, model(inputs))
    expected = per_sample.updates(rows, N, [1 / N] * N, feasible_set="subset", strength=0.5, partition="layer")
    for name, grad in expected.items():
        torch.testing.assert_close(actual[name], grad, rtol=1e-4, atol=1e-6)


def test_random_subset_is_reproducible_and_differs_between_steps():
    model = zoo.build("used twice")
    inputs = zoo.inputs_for(model, N + M)
    reg = regularizer(score="random", partition="global")
    first, _ = captured_grads(model, inputs, step_rows(), reg)
    again, _ = captured_grads(model, inputs, step_rows(), reg)
    for name, grad in first.items():
        assert (grad is None and again[name] is None) or torch.equal(grad, again[name])
    draws = set()
    for step_index in range(20):
        rows = StepRows(
            general=GeneralRows(base_weights=torch.full((N,), 1 / N), example_ids=torch.arange(N), step_index=step_index),
            num_target=M,
        )
        _, report = captured_grads(model, inputs, rows, reg)
        draws.add(tuple((report.blocks[0][1].coefficients.general[0] > 0).tolist()))
    assert len(draws) > 3


def test_tables_that_are_scaled_by_a_plain_number_equal_definition():
    """BART's, in float64: its scale is no buffer."""
    from transformers.models.bart.modeling_bart import BartScaledWordEmbedding

    torch.manual_seed(4)
    table = BartScaledWordEmbedding(zoo.TOKENS, 6, padding_idx=0, embed_scale=6**0.5)
    model = nn.Sequential(table, nn.Linear(6, 3)).double()
    token_ids = torch.randint(0, zoo.TOKENS, (N + M, 5), generator=torch.Generator().manual_seed(1))
    trained = copy.deepcopy(model)
    with GradientCapture(trained, regularizer()).step(step_rows()) as step:
        step.backward(trained(token_ids).square().mean(dim=(1, 2)))
    rows = per_sample.per_sample_grads(model, model(token_ids).square().mean(dim=(1, 2)))
    expected = per_sample.updates(rows, N, [1 / N] * N, feasible_set="subset", strength=0.5, partition="layer")
    assert_equal_grads({name: parameter.grad for name, parameter in trained.named_parameters()}, expected)


def test_layer_partition_of_one_layer_is_global():
    model = zoo.build("one layer")
    inputs = zoo.inputs_for(model, N + M)
    by_layer, _ = captured_grads(model, inputs, step_rows(), regularizer(partition="layer"))
    globally, _ = captured_grads(model, inputs, step_rows(), regularizer(partition="global"))
    torch.testing.assert_close(by_layer["net.weight"], globally["net.weight"], rtol=0, atol=0)


def test_update_is_added_to_existing_gradients():
    model = zoo.build("norms and biases")
    inputs = zoo.inputs_for(model, N + M)
    once, _ = captured_grads(model, inputs, step_rows(), regularizer())
    capture = GradientCapture(model, regularizer())
    for _ in range(2):
        with capture.step(step_rows()) as step:
            step.backward(model(inputs))
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, 2 * once[name], **CLOSE)


def test_model_is_left_as_it_was():
    model = zoo.build("lora")
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    inputs = zoo.inputs_for(model, N + M)
    capture = GradientCapture(model, regularizer())
    with pytest.raises(ValueError, match="sample_losses has shape"), capture.step(step_rows()) as step:
        step.backward(model(inputs)[1:])
    assert before == {name: set(vars(module)) for name, module in model.named_modules()}


def test_rows_left_out_may_hold_anything():
    model = zoo.VectorLosses(nn.Linear(6, 6)).double()
    inputs = zoo.inputs_for(model, N + M)
    reg = regularizer(score="random", partition="layer", strength=0.2)
    _, report = captured_grads(model, inputs, step_rows(), reg)
    kept = torch.stack([figures.coefficients.general[0] for _, figures in report.blocks]).any(dim=0)
    assert not kept.all(), "every example is kept somewhere; take another seed"
    broken = inputs.clone()
    broken[:N][~kept] = float("inf")
    grads, _ = captured_grads(model, broken, step_rows(), reg)
    assert all(torch.isfinite(grad).all() for grad in grads.values())


def test_clipped_update_equals_definition():
    model = zoo.build("tied llama")
    inputs = zoo.inputs_for(model, N + M)
    grads, _ = captured_grads(model, inputs, step_rows(), regularizer())
    for name, parameter in model.named_parameters():
        parameter.grad = grads[name]
    norm = nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    rows = per_sample.per_sample_grads(model, model(inputs))
    expected = per_sample.updates(rows, N, [1 / N] * N, feasible_set="subset", strength=0.5, partition="layer")
    exact = sum(grad.square().sum() for grad in expected.values()).sqrt()
    torch.testing.assert_close(norm, exact, **CLOSE)
    share = 0.1 / (exact + 1e-6)  # torch's own small number
    assert_equal_grads({n: p.grad for n, p in model.named_parameters()}, {n: share * g for n, g in expected.items()})


def test_wrong_number_of_losses_is_refused():
    model = zoo.build("one layer")
    with (
        pytest.raises(ValueError, match=r"sample_losses has shape \(3,\)"),
        GradientCapture(model, regularizer()).step(step_rows()) as step,
    ):
        step.backward(torch.zeros(3))


@pytest.mark.parametrize(
    ("name", "dials"),
    [("subset", {}), ("ball", {}), ("whole_space", {"strength": None}), ("mean", {"strength": None, "relaxation": 0.5})],
)
def test_target_rows_are_needed(name, dials):
    """Also by sets that compare nothing: their update would lack its part along v without a word."""
    model = zoo.build("one layer")
    with (
        pytest.raises(ValueError, match="give rows with num_target of at least 1"),
        GradientCapture(model, regularizer(name, **dials)).step(step_rows(m=0)),
    ):
        pass


def test_autocast_is_close_to_float32():
    """bfloat16 products are noisy, but alignments are summed in float32: they agree to bfloat16's rounding."""
    model = zoo.build("untied llama with biases").float()
    inputs = zoo.inputs_for(model, N + M)
    rows = step_rows(weights=torch.full((N,), 1 / N))
    reg = regularizer(strength=1.0)
    exact, exact_report = captured_grads(model, inputs, rows, reg)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, rough_report = captured_grads(model, inputs, rows, reg)
    for name, grad in exact.items():
        assert rough[name].dtype == torch.float32
        # bfloat16 has 8 bits; errors of 2^-8 accumulate over the depth of the model.
        assert (rough[name] - grad).norm() <= 0.08 * grad.norm(), name
    for (_, a), (_, b) in zip(exact_report.blocks, rough_report.blocks, strict=True):
        assert b.products.alignment.dtype == torch.float32
        assert (a.products.alignment - b.products.alignment).norm() <= 0.15 * a.products.alignment.norm()
