"""Sketches: unbiased, the same for the same seed, and in the capture equal to sketches of explicit gradients."""

import pytest
import torch
import yaml

from drpt.app.paths import config_folder
from drpt.capture.capture import GradientCapture
from drpt.capture.products.sketch import Sketcher
from drpt.capture.products.sketch_spec import DEFAULT_SKETCH, SketchKind, SketchSpec
from tests import zoo
from tests.capture.helpers import CLOSE, M, N, assert_equal_grads, capture_of, captured_grads, regularizer, step_rows
from tests.reference import per_sample

KINDS = list(SketchKind)


def sketch_spec(kind=SketchKind.GAUSSIAN, left=3, right=2, seed=0, refresh=None):
    return SketchSpec(kind=kind.value, left_width=left, right_width=right, seed=seed, refresh_steps=refresh)


@pytest.mark.parametrize("kind", KINDS)
def test_inner_products_are_unbiased(kind):
    generator = torch.Generator().manual_seed(0)
    pair = torch.randn(2, 40, generator=generator, dtype=torch.float64)
    found = []
    for seed in range(3000):
        a, b = Sketcher(kind, left_width=8, right_width=8, seed=seed).sketch(pair, 0, 40)
        found.append(torch.stack([a @ a, a @ b, b @ b]))
    samples = torch.stack(found)
    exact = torch.stack([pair[0] @ pair[0], pair[0] @ pair[1], pair[1] @ pair[1]])
    stderr = samples.std(dim=0) / len(samples) ** 0.5
    assert ((samples.mean(dim=0) - exact).abs() < 4 * stderr).all()
    # Relative to ‖a‖⁴ the variance of ‖a S‖² is about 2/width for dense kinds; none is much worse on dense vectors.
    assert float(samples[:, 0].var() / exact[0] ** 2) < 3 * 2 / 8


@pytest.mark.parametrize("kind", KINDS)
def test_integers_are_unit_vectors(kind):
    sketcher = Sketcher(kind, left_width=4, right_width=3, seed=1)
    ids = torch.tensor([5, 0, 5, 8])
    for axis in (0, 1):
        by_vector = sketcher.sketch(torch.nn.functional.one_hot(ids, 9).float(), axis, 9)
        torch.testing.assert_close(sketcher.sketch(ids, axis, 9), by_vector, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_sides_and_eras_differ_and_come_back(kind):
    values = torch.eye(12)
    first = Sketcher(kind, left_width=4, right_width=4, seed=0)
    kept = first.sketch(values, 0, 12)
    assert torch.equal(kept, Sketcher(kind, left_width=4, right_width=4, seed=0).sketch(values, 0, 12))
    assert not torch.equal(kept, Sketcher(kind, left_width=4, right_width=4, seed=1).sketch(values, 0, 12))
    assert not torch.equal(kept, first.sketch(values, 1, 12))
    first.refresh(1)
    assert not torch.equal(kept, first.sketch(values, 0, 12))
    first.refresh(0)
    assert torch.equal(kept, first.sketch(values, 0, 12))


def test_a_side_no_wider_than_its_sketch_is_left_alone():
    sketcher = Sketcher(SketchKind.GAUSSIAN, left_width=12, right_width=3, seed=0)
    values = torch.randn(2, 12)
    assert sketcher.sketch(values, 0, 12) is values


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["tied llama", "lora", "gpt2 (conv1d, positions of all rows)", "used twice"])
def test_products_are_those_of_sketched_gradients(name, kind):
    """``<S^T g_i R, S^T g_j R>`` from explicit gradients; parameters with one axis are exact."""
    model = zoo.build(name)
    inputs = zoo.inputs_for(model, N + M)
    spec = sketch_spec(kind)
    _, report = captured_grads(model, inputs, step_rows(), regularizer("hull", products="sketch"), sketch=spec)
    rows = per_sample.per_sample_grads(model, model(inputs))
    sketcher = Sketcher(kind, left_width=3, right_width=2, seed=0)
    blocks = {block[0].rsplit(".", 1)[0]: block for block in per_sample.blocks_of(list(rows[0]), "layer")}

    def short(grad):
        if grad.ndim == 1:
            return grad
        left, right = grad.shape
        return sketcher.sketch(sketcher.sketch(grad.T, 0, left).T, 1, right).flatten()

    assert report.blocks
    for block, figures in report.blocks:
        flat = torch.stack([torch.cat([short(row[key]) for key in blocks[block]]) for row in rows])
        # The matrices are drawn in float32 and made float64.
        torch.testing.assert_close(figures.products.gramian[0], flat[:N] @ flat[:N].T, **CLOSE)
        torch.testing.assert_close(figures.products.alignment[0], flat[:N] @ flat[N:].mean(dim=0), **CLOSE)


@pytest.mark.parametrize("feasible_set", ["subset", "hull", "cone"])
@pytest.mark.parametrize("name", zoo.MODELS)
def test_wide_sketches_are_exact(name, feasible_set):
    model = zoo.build(name)
    inputs = zoo.inputs_for(model, N + M)
    expected, _ = captured_grads(model, inputs, step_rows(), regularizer(feasible_set))
    reg = regularizer(feasible_set, products="sketch")
    actual, _ = captured_grads(model, inputs, step_rows(), reg, sketch=sketch_spec(left=64, right=64))
    assert_equal_grads(actual, expected)


def test_matrices_are_drawn_anew_every_few_steps():
    model = zoo.build("tied llama")
    inputs = zoo.inputs_for(model, N + M)
    capture = capture_of(model, regularizer(products="sketch"), sketch=sketch_spec(refresh=2))
    seen = []
    for step_index in (0, 1, 2, 3, 4):
        with capture.step(step_rows(step_index=step_index)) as step:
            step.backward(model(inputs))
        seen.append(float(step.report().blocks[0][1].products.target_sq))
    assert seen[0] == seen[1] != seen[2] == seen[3] != seen[4] != seen[0]


def test_matrices_are_drawn_anew_on_request():
    model = zoo.build("tied llama")
    inputs = zoo.inputs_for(model, N + M)
    capture = capture_of(model, regularizer(products="sketch"), sketch=sketch_spec())
    seen = []
    for era in (0, 1, 1, 0):
        capture.refresh_sketches(era)
        with capture.step(step_rows()) as step:
            step.backward(model(inputs))
        seen.append(float(step.report().blocks[0][1].products.target_sq))
    assert seen[0] == seen[3] != seen[1] == seen[2]


def test_the_default_sketch_is_that_of_the_configuration():
    configured = SketchSpec(**yaml.safe_load((config_folder() / "sketch" / "gaussian.yaml").read_text()))
    assert configured == DEFAULT_SKETCH
    model = zoo.build("tied llama")
    inputs = zoo.inputs_for(model, N + M)
    reg = regularizer(products="sketch")
    by_default, _ = captured_grads(model, inputs, step_rows(), reg)
    explicitly, _ = captured_grads(model, inputs, step_rows(), reg, sketch=configured)
    assert_equal_grads(by_default, explicitly)


def test_only_sketches_are_refreshed():
    with pytest.raises(ValueError, match="nothing to refresh"):
        GradientCapture(zoo.build("tied llama"), regularizer()).refresh_sketches(1)
