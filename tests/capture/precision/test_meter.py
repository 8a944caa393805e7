"""Scores in bfloat16 against float32: what is reported, and that training does not notice."""

import copy
import logging

import pytest
import torch
from torch import nn

from drpt.capture.capture import GradientCapture
from drpt.capture.precision.agreement import BlockScores, agreement, rank_correlation
from drpt.capture.precision.meter import TRUSTED_RANK_AGREEMENT, ScoreMeter, float32_twin
from drpt.capture.products.sketch_spec import SketchSpec
from tests import zoo
from tests.capture.helpers import capture_of, micro_batches, regularizer, step_rows

N, M = 8, 3
ROWS = step_rows(N, M, torch.full((N,), 1 / N))
SKETCH = SketchSpec(kind="gaussian", left_width=4, right_width=4, seed=0, refresh_steps=None)
MODELS = ("tied llama", "untied llama with biases", "checkpointed llama", "lora", "norms and biases")


def inputs_for(model, dtype):
    inputs = zoo.inputs_for(model, N + M)
    return inputs.to(dtype) if isinstance(inputs, torch.Tensor) else inputs


def step_of(model, capture, inputs, *, dtype=None):
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "autocast")
    with capture.step(ROWS) as step, autocast:
        step.backward(model(inputs))
    return step.report()


def compare(model, reg, inputs, exact_inputs, *, dtype=None, meter=None):
    meter = ScoreMeter(model, reg.with_options(sketch=SKETCH)) if meter is None else meter
    with meter.exact() as (twin, capture):
        exact = step_of(twin, capture, exact_inputs)
    rough = step_of(model, capture_of(model, reg, sketch=SKETCH), inputs, dtype=dtype)
    return meter.compare([ROWS], [rough], [exact])


@pytest.mark.parametrize("products", ["auto", "sketch"])
@pytest.mark.parametrize("name", MODELS)
def test_float32_agrees_with_itself(name, products):
    model = zoo.build(name).float()
    inputs = inputs_for(model, torch.float32)
    found = compare(model, regularizer(products=products), inputs, inputs)
    assert (found.mean_rank, found.min_rank, found.choice) == (pytest.approx(1), pytest.approx(1), 1)
    assert found.relative_error == 0
    assert found.worst_block is not None


@pytest.mark.parametrize("precision", ["autocast", "weights"])
@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_of_a_tame_model_is_trusted(name, precision, caplog):
    model = zoo.build(name).to(torch.float32 if precision == "autocast" else torch.bfloat16)
    inputs = inputs_for(model, next(model.parameters()).dtype)
    found = compare(model, regularizer(), inputs, inputs_for(model, torch.float32), dtype=precision)
    assert found.mean_rank > 0.8  # tiny models at random weights far from zero, where little averages out
    assert 0 < found.relative_error < 0.5
    assert bool(caplog.records) == (found.mean_rank < TRUSTED_RANK_AGREEMENT)


class FarFromZero(nn.Module):
    """A large offset, of which bfloat16 keeps multiples of 4: nothing is left of where in its period the sine is."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6, bias=False)
        with torch.no_grad():
            self.first.bias.fill_(1000.0)
            self.second.weight.mul_(10.0)  # so that what it makes of the sine is most of the error

    def forward(self, x):
        return self.second(torch.sin(self.first(x)))


@pytest.mark.parametrize("precision", ["autocast", "weights"])
def test_badly_scaled_weights_are_reported_once(precision, caplog):
    model = zoo.VectorLosses(FarFromZero()).to(torch.float32 if precision == "autocast" else torch.bfloat16)
    inputs = torch.randn(N + M, 4, 6).bfloat16()
    own = inputs.to(next(model.parameters()).dtype)
    reg = regularizer()
    meter = ScoreMeter(model, reg)
    with caplog.at_level(logging.WARNING, logger="drpt.capture.precision.meter"):
        for _ in range(3):
            found = compare(model, reg, own, inputs.float(), dtype=precision, meter=meter)
    assert found.mean_rank < 0.7
    assert found.min_rank < found.mean_rank
    (record,) = caplog.records
    for word in (found.worst_block, "trainer.precision=32-true", "data.target_rows", "regularizer.partition"):
        assert word in record.getMessage()


@pytest.mark.parametrize("precision", ["autocast", "weights"])
@pytest.mark.parametrize("name", ["lora", "checkpointed llama", "used twice"])
def test_training_does_not_notice(name, precision):
    """Gradients, parameters, random state, regularizer and the modules themselves stay as they were, bit for bit."""
    model = zoo.build(name).to(torch.float32 if precision == "autocast" else torch.bfloat16)
    reg = regularizer("hull", strength="auto")
    inputs = inputs_for(model, next(model.parameters()).dtype)
    step_of(model, GradientCapture(model, reg), inputs, dtype=precision)
    before = copy.deepcopy(model.state_dict())
    grads = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    attributes = {name: {key: id(value) for key, value in vars(m).items()} for name, m in model.named_modules()}
    places = {name: (id(p), p.data_ptr(), p._version) for name, p in model.named_parameters()}
    strengths, state = copy.deepcopy(reg.auto.state_dict()), torch.get_rng_state()
    with ScoreMeter(model, reg).exact() as (twin, capture):
        torch.rand(5)
        assert torch.get_default_dtype() is torch.float32
        report = step_of(twin, capture, inputs_for(model, torch.float32))
        assert all(p.grad is None and p.dtype is torch.float32 for p in twin.parameters())
    assert all(figures.products.alignment.dtype is torch.float32 for _, figures in report.blocks)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert places == {name: (id(p), p.data_ptr(), p._version) for name, p in model.named_parameters()}
    assert attributes == {name: {key: id(value) for key, value in vars(m).items()} for name, m in model.named_modules()}
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (grads[name] is None)
        assert parameter.grad is None or torch.equal(parameter.grad, grads[name])
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(reg.auto.state_dict(), strengths, rtol=0, atol=0)


def test_random_and_default_dtype_come_back_after_an_error():
    model = zoo.build("one layer").float()
    torch.set_default_dtype(torch.bfloat16)
    try:
        state = torch.get_rng_state()
        with (
            pytest.raises(ValueError, match="sample_losses has shape"),
            ScoreMeter(model, regularizer()).exact() as (_, capture),
        ):
            step_of(lambda _: torch.rand(1), capture, None)
        assert torch.get_default_dtype() is torch.bfloat16
        assert torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_twin_meets_the_same_dropout():
    model = zoo.VectorLosses(nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 6))).bfloat16()
    inputs = torch.randn(N + M, 4, 6).bfloat16()
    found = compare(model, regularizer(), inputs, inputs.float())
    assert found.mean_rank > 0.95


def test_the_twin_shares_what_is_in_float32():
    model = zoo.build("tied llama").float()
    twin = float32_twin(model)
    for own, shared in zip(model.parameters(), twin.parameters(), strict=True):
        assert own.data_ptr() == shared.data_ptr()
        assert own is not shared
    half = float32_twin(model.bfloat16())
    assert [p.dtype for p in half.parameters()] == [torch.float32] * len(list(model.parameters()))
    assert len(list(half.parameters())) == len(list(model.parameters()))  # tied ones are one


@pytest.mark.parametrize("activation_budget_mib", [4096.0, 0.0])
@pytest.mark.parametrize("num_micro_batches", [1, 2])
def test_a_capture_that_leaves_no_update_chooses_the_same(num_micro_batches, activation_budget_mib):
    model = zoo.build("lora")
    ids, lengths = zoo.inputs_for(model, N + M)
    rows = step_rows(N, M)
    reg = regularizer(partition="global")
    found = []
    for leaves_update in (True, False):
        capture = capture_of(model, reg, activation_budget_mib=activation_budget_mib, leaves_update=leaves_update)
        groups = (range(N, N + M), range(N))[:num_micro_batches] if num_micro_batches == 2 else (range(N + M),)
        with capture.step(rows, micro_batches=micro_batches(groups)) as step:
            # Target examples first: alignments are taken batch by batch where activations are not kept.
            for part in groups:
                step.backward(lambda part=part: model((ids[list(part)], lengths[list(part)])))
        found.append(step.report().blocks[0][1])
        assert any(p.grad is not None for p in model.parameters()) == leaves_update
        model.zero_grad(set_to_none=True)
    torch.testing.assert_close(found[0].products.alignment, found[1].products.alignment, rtol=0, atol=0)
    torch.testing.assert_close(found[0].coefficients.general, found[1].coefficients.general, rtol=0, atol=0)


def test_there_must_be_something_to_compare():
    model = zoo.build("one layer")
    with pytest.raises(ValueError, match="has no scores to compare"):
        ScoreMeter(model, regularizer("mean"))
    with pytest.raises(ValueError, match="nothing to choose"):
        GradientCapture(model, regularizer("mean"), leaves_update=False)


def block(scores, exact, coefficients=None, exact_coefficients=None, name="a"):
    coefficients = scores if coefficients is None else coefficients
    exact_coefficients = coefficients if exact_coefficients is None else exact_coefficients
    values = [torch.tensor(v, dtype=torch.float64) for v in (scores, exact, coefficients, exact_coefficients)]
    return BlockScores(
        name=name, scores=values[0], exact_scores=values[1], coefficients=values[2], exact_coefficients=values[3]
    )


def test_figures_of_agreement_by_hand():
    """Ranks (1, 2, 3, 4) against (1, 2, 4, 3): Spearman 1 − 6·2/(4·15) = 0.8. Reversed: −1. Errors √2/√30 and √20/√30."""
    found = agreement(
        [
            block([1, 2, 4, 3], [1, 2, 3, 4], [0, 0, 1, 1], [0, 0, 0.5, 0.5]),
            block([4, 3, 2, 1], [1, 2, 3, 4], [1, 1, 0, 0], [0, 1, 1, 0], name="b"),
            block([1, 2, 3, 4], [0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], name="without an order"),
        ]
    )
    assert found.mean_rank == pytest.approx((0.8 - 1) / 2)
    assert (found.min_rank, found.worst_block) == (pytest.approx(-1), "b")
    assert found.choice == pytest.approx((4 + 2) / 8)
    assert found.relative_error == pytest.approx((2**0.5 + 20**0.5) / 30**0.5 / 2)
    assert found.metrics().keys() == {
        "train/score_rank_agreement/mean",
        "train/score_rank_agreement/min",
        "train/score_choice_agreement/mean",
        "train/score_relative_error/mean",
    }


def test_two_examples_have_no_rank_agreement():
    found = agreement([block([1, 2], [2, 1], [0, 1], [1, 0])])
    assert (found.mean_rank, found.min_rank, found.worst_block) == (None, None, None)
    assert found.choice == 0
    assert agreement([]).metrics() == {}


def test_equal_scores_share_their_rank():
    """Ranks (1.5, 1.5, 3) against (1, 2, 3): correlation √3/2."""
    a, b = torch.tensor([1.0, 1.0, 5.0]), torch.tensor([1.0, 2.0, 3.0])
    assert rank_correlation(a, b) == pytest.approx(3**0.5 / 2)
    assert rank_correlation(torch.ones(3), b) == 0


def test_sketches_that_were_refreshed_on_request_are_those_of_the_comparison():
    model = zoo.build("tied llama").float()
    inputs = inputs_for(model, torch.float32)
    reg = regularizer(products="sketch")
    capture, meter = capture_of(model, reg, sketch=SKETCH), ScoreMeter(model, reg.with_options(sketch=SKETCH))
    capture.refresh_sketches(3)
    rough = step_of(model, capture, inputs)
    errors = []
    for era in (capture.sketch_era, 0):
        with meter.exact(sketch_era=era) as (twin, exact):
            errors.append(meter.compare([ROWS], [rough], [step_of(twin, exact, inputs)]).relative_error)
    assert errors[0] == 0 < errors[1]
