"""The loss of policy and value function: against loops, and worked values of the clipping."""

import math

import pytest
import torch

from drpt.objectives.policy import ResponseTokens
from drpt.rl.choices import KlGradient
from drpt.rl.grpo import PolicyRows, PolicyTerms
from drpt.rl.ppo import ValueRows, ValueTerms, ppo_losses, value_errors
from tests.reference import ppo as reference

MASK = torch.tensor([[False, True, True, True], [False, False, True, False], [False] * 4])
TERMS = PolicyTerms(clip_low=0.2, clip_high=0.3, importance_cap=None, kl_coefficient=0.0, kl_gradient=KlGradient.K3)


def column(seed, scale=1.0):
    values = scale * torch.randn(MASK.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.where(MASK, values, math.nan)


@pytest.mark.parametrize("value_clip", [None, 0.2])
@pytest.mark.parametrize("entropy_coefficient", [0.0, 0.03])
def test_losses_and_gradients_are_those_of_the_loops(value_clip, entropy_coefficient):
    names = ("logprob", "value", "entropy")
    leaves = {name: column(seed, 0.5).requires_grad_() for seed, name in enumerate(names)}
    known = {name: column(9 + seed) for seed, name in enumerate(("advantage", "old_value", "return"))}
    known["old_logprob"] = column(0, 0.5) + column(5, 0.3)
    terms = ValueTerms(value_coefficient=0.1, value_clip=value_clip, entropy_coefficient=entropy_coefficient)
    found = ppo_losses(
        ResponseTokens(logprobs=leaves["logprob"], entropies=leaves["entropy"]),
        leaves["value"],
        PolicyRows(old_logprobs=known["old_logprob"], advantages=known["advantage"], response_mask=MASK),
        ValueRows(old_values=known["old_value"], returns=known["return"]),
        TERMS,
        terms,
    )
    twins = {name: leaf.detach().clone().requires_grad_() for name, leaf in leaves.items()}
    expected = [
        reference.row_loss(
            [
                {name: twins[name][row, t] for name in names} | {name: float(each[row, t]) for name, each in known.items()}
                for t in range(4)
                if MASK[row, t]
            ],
            low=0.2, high=0.3, value_coefficient=0.1, value_clip=value_clip, entropy_coefficient=entropy_coefficient,
        )
        for row in range(3)
    ]  # fmt: skip
    assert found.tolist() == pytest.approx([loss.item() for loss in expected], rel=1e-12, abs=1e-12)
    found.sum().backward()
    sum(expected).backward()
    for name, leaf in leaves.items():
        grad, wanted = leaf.grad, twins[name].grad
        if wanted is None or (name == "entropy" and not entropy_coefficient):
            assert grad is None or not grad[MASK].any()
            continue
        torch.testing.assert_close(grad[MASK], wanted[MASK], rtol=1e-12, atol=1e-14)
        assert not grad[~MASK].any(), name


@pytest.mark.parametrize(
    ("value", "old", "wanted", "error", "slope"),
    [
        (1.0, 1.0, 3.0, 2.0, -2.0),  # not moved: ½·2², towards R
        (2.0, 1.0, 3.0, 1.62, 0.0),  # moved beyond the clip towards R: ½·(1.2 − 3)², flat
        (0.0, 1.0, 3.0, 4.5, -3.0),  # moved away: the whole error
        (3.0, 1.0, 1.5, 1.125, 1.5),  # moved beyond R: the error of where it is counts
    ],
)
def test_the_value_s_clip(value, old, wanted, error, slope):
    leaf = torch.tensor([[value]], requires_grad=True)
    found = value_errors(leaf, ValueRows(old_values=torch.tensor([[old]]), returns=torch.tensor([[wanted]])), 0.2)
    found.sum().backward()
    assert found.item() == pytest.approx(error, rel=1e-6)
    assert float(leaf.grad) == pytest.approx(slope, rel=1e-6)
