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
        ({"lr": 1e38}, r"optimizer\.lr=1e\+38 must lie in \[1\.1e-19, 1\.8e\+19\].*overflow in float32"),
        ({"lr": 1e-300}, r"optimizer\.lr=1e-300 must lie in"),
        ({"lr": 1e-15}, r"optimizer\.lr=1e-15 must be at least 1e-12: .*rounds it away"),
        ({"lr": float("nan")}, r"optimizer\.lr=nan must be finite"),
        ({"betas": [0.9, 1 - 1e-12]}, r"optimizer\.betas=0\.999999999999 must be at most 1 - 6e-08.*never changes"),
        ({"betas": [0.999, 0.9]}, r"optimizer\.betas=\[0\.999, 0\.9\]: .*in the right order"),
        ({"eps": 1e-300}, r"optimizer\.eps=1e-300 must be at least 1\.1e-19: .*squares of smaller gradients"),
        ({"eps": 1e30}, r"optimizer\.eps=1e\+30 must be at most 1: .*Lower optimizer\.lr"),
        ({"weight_decay": 1e30}, r"optimizer\.weight_decay=1e\+30 times optimizer\.lr=0\.001 is 1e\+27 and must be below 1"),
        ({"weight_decay": 1e3}, r"optimizer\.weight_decay=1000\.0 times optimizer\.lr=0\.001 is 1 and must be below 1"),
        ({"clip_norm": 1e-300}, r"optimizer\.clip_norm=1e-300 must lie in"),
        ({"clip_norm": 1e-9}, r"optimizer\.clip_norm=1e-09 must be at least optimizer\.eps=1e-08"),
        ({"warmup_share": 2.0}, r"optimizer\.warmup_share=2\.0 must lie in \[0, 1\]"),
    ],
)
def test_bad_values_are_explained(change, message):
    with pytest.raises(ValueError, match=message):
        OptimizerSpec(**(GOOD | change))


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 1e-9, "betas": [0.0, 0.0]},
        {"lr": 1e9, "betas": [0.95, 0.95]},
        {"eps": 1e-16, "clip_norm": 1e-6},
        {"eps": 1.0, "clip_norm": 1.0},
        {"weight_decay": 999.0, "betas": [0.9, 0.9999]},
    ],
)
def test_unusual_values_that_mean_something_are_taken(change):
    assert OptimizerSpec(**(GOOD | change))


@pytest.mark.parametrize(
    ("dtype", "lr", "decay", "is_lost"),
    [
        (torch.float32, 1e-6, 0.01, True),
        (torch.float32, 1e-6, 0.1, False),
        (torch.bfloat16, 1e-4, 0.1, True),
        (torch.bfloat16, 1e-2, 0.5, False),
        (torch.float32, 1e-6, 0.0, False),
    ],
)
def test_decay_that_is_rounded_away_is_said(caplog, dtype, lr, decay, is_lost):
    spec = OptimizerSpec(**(GOOD | {"lr": lr, "weight_decay": decay, "warmup_share": 0.0}))
    weight = torch.nn.Parameter(torch.linspace(0.01, 1, 1000).to(dtype))
    before = weight.detach().clone()
    optimizer, _ = build_adamw([weight], spec, num_steps=5)
    weight.grad = torch.zeros_like(weight)
    optimizer.step()  # of a gradient of 0: the decay alone
    assert bool((weight == before).all()) == (is_lost or decay == 0)
    assert ("has no effect" in caplog.text) == is_lost


def test_what_the_smallest_epsilon_prevents():
    """A gradient of 1e-22, whose square float32 rounds to 0, is divided by ε alone: with 1e-30, 1e8 rates long."""
    for eps, most in ((1.1e-19, 1.0), (1e-30, 1e9)):
        weight = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.AdamW([weight], lr=1.0, eps=eps)
        weight.grad = torch.full((1,), 1e-22)
        optimizer.step()
        assert 0 < abs(weight.item()) <= most
    assert abs(weight.item()) > 1e6
