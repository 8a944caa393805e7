import pytest
import torch

from drpt.optim.adamw import build_adamw, lr_factor
from drpt.optim.spec import OptimizerSpec

GOOD = {
    "lr": 1e-3,
    "betas": [0.9, 0.999],
    "eps": 1e-8,
    "weight_decay": 0.0,
    "schedule": "linear",
    "warmup_share": 0.2,
    "clip_norm": None,
}


def test_linear_schedule_by_hand():
    assert [lr_factor(step, 2, 6, "linear") for step in range(6)] == pytest.approx([1 / 3, 2 / 3, 1, 3 / 4, 1 / 2, 1 / 4])


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_every_step_has_a_rate_and_none_is_above_the_highest(schedule):
    factors = [lr_factor(step, 3, 50, schedule) for step in range(50)]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == 1


def test_optimizer_follows_the_schedule():
    optimizer, schedule = build_adamw([torch.nn.Parameter(torch.ones(1))], OptimizerSpec(**GOOD), num_steps=5)
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.0005, 0.001, 0.00075, 0.0005, 0.00025])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.0}, r"optimizer\.lr=0\.0 must be more than 0"),
        ({"betas": [0.9]}, r"optimizer\.betas=\[0\.9\] must be two numbers"),
        ({"betas": [0.9, 1.0]}, r"optimizer\.betas=1\.0 must lie in \[0, 1\)"),
        ({"schedule": "linaer"}, r"optimizer\.schedule='linaer'.*Did you mean 'linear'"),
        ({"clip_norm": 0.0}, r"optimizer\.clip_norm=0\.0 must be more than 0"),
        ({"warmup_share": 2.0}, r"optimizer\.warmup_share=2\.0 must lie in \[0, 1\]"),
    ],
)
def test_bad_values_are_explained(change, message):
    with pytest.raises(ValueError, match=message):
        OptimizerSpec(**(GOOD | change))
