"""A step's figures: the cosine is checked where products are exact, at any scale of the step; failed solves are counted."""

import math

import pytest
import torch
from torch import nn

from drpt.capture.passes.report import BlockGroup, StepReport
from drpt.capture.products.sketch_spec import SketchSpec
from drpt.errors import UpdateMismatchError
from drpt.geometry.products import Coefficients, Products
from drpt.geometry.solution import Solution
from tests import zoo
from tests.capture.helpers import M, N, capture_of, regularizer, step_rows

SETS = ("subset", "filter", "hull", "cone", "span", "halfspace", "dual_cone", "ball", "cagrad", "pcgrad", "mgda", "gradmatch")
FIGURES = ("train/update_norm_ratio/mean", "train/update_cosine/mean")


def step_of(model, reg, *, scale=1.0, seed=0, dtype=None, n=N, m=M, **options):
    """A step's report, and the norm of what it left in ``.grad``."""
    inputs = zoo.inputs_for(model, n + m, seed=seed)
    if dtype is not None:
        model = model.to(dtype)
        inputs = inputs.to(dtype) if isinstance(inputs, torch.Tensor) and inputs.is_floating_point() else inputs
    capture = capture_of(model, reg, **options)
    with capture.step(step_rows(n, m), scale=scale) as step:
        step.backward(model(inputs))
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return step.report(), float(nn.utils.get_total_norm(grads))


@pytest.mark.parametrize("feasible_set", ["subset", "hull", "halfspace"])
def test_the_steps_scale_is_no_part_of_cosine_and_ratio(feasible_set):
    """Dr. GRPO's scale is below 1, and made the cosine too large by it: up to four times in answers of a quarter's length."""
    found = {}
    for scale in (1.0, 0.25, 3.0):
        report, norm = step_of(zoo.build("tied llama"), regularizer(feasible_set), scale=scale)
        metrics = report.metrics(update_norm=norm)
        found[scale] = [metrics[name] for name in FIGURES]
    assert found[0.25] == pytest.approx(found[1.0], rel=1e-9)
    assert found[3.0] == pytest.approx(found[1.0], rel=1e-9)
    assert abs(found[1.0][1]) <= 1 + 1e-9


CHANGES = {
    "made shorter": lambda parameters: [parameter.grad.mul_(0.1) for parameter in parameters],
    "of one layer alone": lambda parameters: [parameter.grad.zero_() for parameter in parameters[:-1]],
    "lost but for a rest": lambda parameters: [parameter.grad.clamp_(-1e-3, 1e-3) for parameter in parameters],
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_update_that_is_not_the_one_of_the_products_is_refused(change):
    """What the capture formed is changed before anybody looks at it."""
    model = zoo.build("norms and biases")
    report, norm = step_of(model, regularizer("halfspace"))
    assert report.metrics(update_norm=norm)["train/update_cosine/mean"] > 0.5
    CHANGES[change]([parameter for parameter in model.parameters() if parameter.grad is not None])
    changed = float(nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None]))
    with pytest.raises(UpdateMismatchError, match=r"cosine with the target gradient is .*norm of the update .*target gradient"):
        report.metrics(update_norm=changed)


def test_estimates_of_sketches_may_leave_the_interval():
    spec = SketchSpec(kind="gaussian", left_width=2, right_width=2, seed=0, refresh_steps=None)
    cosines = []
    for seed in range(6):
        reg = regularizer("hull", products="sketch")
        report, norm = step_of(zoo.build("norms and biases"), reg, seed=seed, sketch=spec)
        cosines.append(report.metrics(update_norm=norm / 4)["train/update_cosine/mean"])
    assert max(abs(cosine) for cosine in cosines) > 1


def test_no_update_has_no_cosine():
    report, _ = step_of(zoo.build("one layer"), regularizer("subset"))
    metrics = report.metrics(update_norm=0.0)
    assert metrics["train/update_norm_ratio/mean"] == 0
    assert "train/update_cosine/mean" not in metrics


@pytest.mark.parametrize(
    ("residuals", "converged", "failures"),
    [([math.nan, 0.0], [True, True], 1), ([math.nan, math.nan], [False, False], 2), ([0.0, 1.0], [True, False], 1)],
)
def test_a_residual_that_is_no_number_is_a_failure(residuals, converged, failures):
    solved = Solution(
        coefficients=torch.zeros(2, 3),
        residual=torch.tensor(residuals),
        num_steps=torch.ones(2, dtype=torch.long),
        is_converged=torch.tensor(converged),
    )
    coefficients = Coefficients(general=torch.zeros(2, 3), target=torch.zeros(2), solved=solved)
    products = Products(alignment=torch.ones(2, 3), target_sq=torch.ones(2))
    metrics = StepReport((BlockGroup((0, 1), coefficients, products),), ("a", "b")).metrics(update_norm=0.0)
    assert metrics["train/solver_failures/sum"] == failures
    assert math.isnan(metrics["train/solver_residual/max"]) == any(map(math.isnan, residuals))


@pytest.mark.long
@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("feasible_set", SETS)
def test_rounding_is_never_taken_for_a_mismatch(feasible_set, dtype):
    """Many models, seeds and sizes, among them steps whose update nearly vanishes."""
    names = ["tied llama", "lora", "norms and biases", "used twice", "gpt2 (conv1d, positions of all rows)"]
    for name in names:
        for seed in range(2):
            for n, m in ((5, 2), (1, 1), (16, 1)):
                report, norm = step_of(zoo.build(name), regularizer(feasible_set), seed=seed, dtype=dtype, n=n, m=m)
                report.metrics(update_norm=norm)
