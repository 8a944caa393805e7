"""In bfloat16 every sum is taken in float32 or better: products and updates equal those of the same factors in float64.

What the backward pass left of each use (activations and output gradients, in bfloat16) is recorded, and everything is worked
out from it once more in float64.
"""

import pytest
import torch

from drpt.capture.gradients import FactoredGradient, PerExampleGradient
from drpt.capture.micro_batch import MicroBatch
from drpt.capture.options import ProductsMethod
from drpt.capture.products.computer import ProductComputer
from drpt.capture.products.cost import Need
from drpt.capture.products.sketch import Sketcher
from drpt.capture.products.sketch_spec import SketchKind, SketchSpec
from drpt.capture.products.step_examples import StepExamples
from drpt.capture.segments import Segments
from drpt.capture.tokens import TokenVectors
from drpt.capture.trace import StepTrace
from drpt.geometry.hull import Hull
from tests import zoo
from tests.capture.helpers import capture_of, regularizer, step_rows

N, M = 4, 2
LONG = 512  # a sum of 512 equal numbers kept in bfloat16 stops growing at 256 of them
# One rounding to bfloat16 is 2^-9 of a number; a few of them, relative to the lengths of the vectors compared.
ROUNDING = 4 * 2**-8
METHODS = ("auto", "reduced", "pairwise", "direct", "sketch")
SETS = ("subset", "auto")  # which ask for alignments, and for all inner products
SKETCH = {"left_width": 4, "right_width": 4, "seed": 1}
SPEC = SketchSpec(kind="gaussian", refresh_steps=None, **SKETCH)


def in_float64(use):
    if isinstance(use, PerExampleGradient):
        return PerExampleGradient(use.grads.double(), use.segments)
    left, right = (TokenVectors(side.values if side.is_ids else side.values.double()) for side in (use.left, use.right))
    return FactoredGradient(left, right, use.segments, use.num_left)


def sketcher():
    return Sketcher(SketchKind.GAUSSIAN, **SKETCH)


def gradients(uses, method=ProductsMethod.DIRECT):
    """Inner products of all examples' gradients, or of their sketches, in float64 [example, example]."""
    examples = StepExamples(N, M)
    return ProductComputer(Need.JOINT, method, sketcher(), examples)([in_float64(use) for use in uses])[0]


def assert_products(found, uses_of_block, method):
    """Compare what the step found for a block with its parameters' uses in float64."""
    exact = [gradients(uses) for uses in uses_of_block]
    compared = [gradients(uses, ProductsMethod.SKETCH) for uses in uses_of_block] if method == "sketch" else exact
    joint = sum(compared)
    # A random matrix is rounded too, which moves a sketch by a share of the gradient's length, not of its own.
    sized = exact if method != "sketch" else [*exact, *compared]
    size = sum(torch.outer(one.diagonal().sqrt(), one.diagonal().sqrt()) for one in sized)
    v_size = sum(one.diagonal().sqrt()[:N] * one[N:, N:].mean().sqrt() for one in sized)

    def assert_near(actual, expected, sizes):
        assert actual.dtype == torch.float32
        assert ((actual[0].double() - expected).abs() <= ROUNDING * sizes + 1e-30).all(), (actual[0], expected, sizes)

    assert_near(found.alignment, joint[:N, N:].mean(dim=1), v_size)
    assert_near(found.target_sq, joint[N:, N:].mean(), sum(one[N:, N:].mean() for one in sized))
    if found.gramian is not None:
        assert_near(found.gramian, joint[:N, :N], size[:N, :N])
    if found.cross is not None:
        assert_near(found.cross, joint[:N, N:], size[:N, N:])
        assert_near(found.target_gramian, joint[N:, N:], size[N:, N:])


def batch_for(model, kind):
    """Ids and lengths; of the long texts, few ids, so that each comes often."""
    if kind == "short":
        return zoo.inputs_for(model, N + M)
    lengths = torch.tensor([LONG, 300, 411, 100, 512, 257]) if kind == "padded" else torch.full((N + M,), LONG)
    ids = torch.randint(1, zoo.TOKENS, (N + M, LONG), generator=torch.Generator().manual_seed(5)) ** 2 % zoo.TOKENS
    return ids.masked_fill(torch.arange(LONG) >= lengths[:, None], 0), lengths


def example_of_token(batch):
    ids, lengths = batch
    rows = torch.arange(len(ids))[:, None].expand_as(ids)
    return torch.where(torch.arange(ids.shape[1]) < lengths[:, None], rows, -1)


def run(name, kind, precision, *, feasible_set="subset", products="auto", weights=None):
    """One step in bfloat16: the model, the uses of each parameter, and the report."""
    model = zoo.build(name).to(torch.bfloat16 if precision == "weights" else torch.float32)
    batch = batch_for(model, kind)
    uses: dict[str, list] = {}

    class Trace(StepTrace):
        def recorded(self, parameter, use):
            uses.setdefault(parameter, []).append(use)

    strength = "auto" if feasible_set == "auto" else 0.5
    reg = regularizer("hull" if feasible_set == "auto" else feasible_set, strength=strength, products=products)
    capture = capture_of(model, reg, sketch=SPEC)
    rows = step_rows(N, M, torch.full((N,), 1 / N) if weights is None else weights)
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "autocast")
    with capture.step(rows, example_of_token=example_of_token(batch), trace=Trace()) as step, autocast:
        step.backward(model(batch))
    return model, uses, step.report()


MODELS = ("tied llama", "untied llama with biases", "lora", "tied with padding_idx and head bias")
RUNS = [
    *((name, "short") for name in MODELS),
    ("untied llama with biases", "padded"),
    ("lora", "padded"),
    ("tied llama", "long"),
]


@pytest.mark.parametrize("precision", ["autocast", "weights"])
@pytest.mark.parametrize("products", METHODS)
@pytest.mark.parametrize("feasible_set", SETS)
@pytest.mark.parametrize(("name", "kind"), RUNS)
def test_products_are_those_of_the_same_factors_in_float64(name, kind, feasible_set, products, precision):
    _, uses, report = run(name, kind, precision, feasible_set=feasible_set, products=products)
    assert any(use.dtype == torch.bfloat16 for found in uses.values() for use in found)
    assert report.blocks
    for block, figures in report.blocks:
        of_block = [found for parameter, found in uses.items() if parameter.rpartition(".")[0] == block]
        assert_products(figures.products, of_block, products)


@pytest.mark.parametrize("precision", ["autocast", "weights"])
@pytest.mark.parametrize(("name", "kind"), RUNS)
def test_update_is_the_combination_of_the_same_factors_in_float64(name, kind, precision):
    """Of unequal weights, half of the examples left out; in the parameter's dtype."""
    weights = torch.tensor([0.1, 0.4, 0.3, 0.2])
    model, uses, report = run(name, kind, precision, weights=weights)
    parameters = dict(model.named_parameters())
    assert uses
    for block, figures in report.blocks:
        coefficients = figures.coefficients.general[0].tolist() + [0.0] * M
        for parameter in (one for one in uses if one.rpartition(".")[0] == block):
            found = parameters[parameter].grad
            assert found.dtype == parameters[parameter].dtype
            expected, size = 0.0, 0.0
            for use in uses[parameter]:
                part = in_float64(use).update([coefficients[example] for example in use.segments.examples], None)
                expected, size = expected + part, size + part.norm()
            # The smaller factor times a coefficient, the sum over tokens, and each further use of a tied parameter.
            error = (found.double() - expected.view_as(found)).norm()
            assert error <= 2**-8 * (size + expected.norm()), (parameter, float(error / size))


@pytest.mark.parametrize("precision", ["autocast", "weights"])
@pytest.mark.parametrize("kind", ["padded", "long"])
def test_biases_are_summed_in_float32(kind, precision):
    """Their gradients are the sums of the weights' output gradients, over hundreds of tokens of unequal rows."""
    _, uses, _ = run("untied llama with biases", kind, precision)
    biases = [name for name in uses if name.endswith(".bias")]
    assert biases
    for name in biases:
        (bias,), (weight,) = uses[name], uses[name.replace(".bias", ".weight")]
        assert bias.grads.dtype == torch.float32
        assert weight.left.values.dtype == torch.bfloat16
        expected = weight.segments.sums(weight.left.values.double())
        size = weight.segments.sums(weight.left.values.double().abs())
        assert ((bias.grads.double() - expected).abs() <= 1e-5 * size).all()


def equal_terms(lengths, *, is_ids):
    """Every token adds the same: a sum in bfloat16 would stop growing long before the end."""
    segments = Segments(tuple(range(len(lengths))), tuple(lengths))
    num_tokens = sum(lengths)
    right = torch.full((num_tokens, 3), 1.0, dtype=torch.bfloat16)
    left = torch.ones(num_tokens, dtype=torch.long) if is_ids else torch.full((num_tokens, 5), 1.0, dtype=torch.bfloat16)
    return FactoredGradient(TokenVectors(left), TokenVectors(right), segments, 5)


@pytest.mark.parametrize("lengths", [(1000, 600, 300, 7, 1500, 900), (LONG,) * (N + M)])
@pytest.mark.parametrize("is_ids", [False, True])
@pytest.mark.parametrize("need", list(Need))
@pytest.mark.parametrize("method", METHODS)
def test_long_sums_of_equal_terms_are_exact_to_one_rounding(method, need, is_ids, lengths):
    use = equal_terms(lengths, is_ids=is_ids)
    measure = ProductComputer(need, ProductsMethod(method), sketcher(), StepExamples(N, M))
    for found, expected in zip(measure([use]), measure([in_float64(use)]), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=2**-7, atol=0)  # V and a mapped token, each rounded once


@pytest.mark.parametrize("is_ids", [False, True])
def test_updates_of_equal_terms_are_exact_to_one_rounding(is_ids):
    use = equal_terms((1000, 600, 300, 7, 1500, 900), is_ids=is_ids)
    coefficients = [0.1, 0.0, 0.3, 0.2, 0.0, 0.4]
    expected = in_float64(use).update(coefficients, None)
    torch.testing.assert_close(use.update(coefficients, None).double(), expected, rtol=2**-8, atol=0)
    into = torch.ones(5, 3, dtype=torch.bfloat16)
    torch.testing.assert_close(use.update(coefficients, into).double(), expected + 1, rtol=2**-8, atol=0)


@pytest.mark.parametrize("activation_budget_mib", [4096.0, 0.0])
@pytest.mark.parametrize("products", ["direct", "sketch"])
@pytest.mark.parametrize("num_micro_batches", [1, 2])
def test_choices_are_made_outside_autocast(num_micro_batches, products, activation_budget_mib, monkeypatch):
    """Autocast would round what solvers multiply: three digits of a gramian are not enough for a hull."""
    if num_micro_batches == 2 and products == "direct" and activation_budget_mib == 0:
        pytest.skip("an exact gramian over several batches needs their activations")
    seen = []
    project = Hull.project
    monkeypatch.setattr(Hull, "project", lambda *a: (seen.append(torch.is_autocast_enabled("cpu")), project(*a))[1])
    model = zoo.build("untied llama with biases").float()
    ids, lengths = zoo.inputs_for(model, N + M)
    reg = regularizer("hull", partition="global", products=products)
    capture = capture_of(model, reg, sketch=SPEC, activation_budget_mib=activation_budget_mib)
    rows = step_rows(N, M, torch.full((N,), 1 / N))
    places = torch.arange(N + M).split((N + M) // num_micro_batches)
    autocast = torch.autocast("cpu", dtype=torch.bfloat16)
    with capture.step(rows, micro_batches=[MicroBatch(examples=part) for part in places]) as step, autocast:
        for part in places:
            step.backward(lambda part=part: model((ids[part], lengths[part])))
    assert seen == [False]
    (block,) = (figures for _, figures in step.report().blocks)
    again = reg.coefficients(rows.general, block.products, [0])
    torch.testing.assert_close(block.coefficients.general, again.general, rtol=0, atol=0)


@pytest.mark.parametrize("kind", list(SketchKind))
def test_sketches_do_not_depend_on_the_default_dtype(kind):
    """Lightning makes bfloat16 torch's default during a step of bf16-true."""
    values = torch.randn(3, 50)
    expected = Sketcher(kind, **SKETCH).sketch(values, 1, 50)
    torch.set_default_dtype(torch.bfloat16)
    try:
        found = Sketcher(kind, **SKETCH).sketch(values, 1, 50)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
