"""The Bradley–Terry loss by hand."""

import math

import pytest
import torch
from torch.testing import assert_close

from drpt.objectives.preference import bradley_terry_losses


def test_worked_values():
    # σ(0) = 1/2; odds of 3 to 1 are a probability of 3/4; reversed, of 1/4.
    margins = torch.tensor([0.0, math.log(3.0), -math.log(3.0)], dtype=torch.float64)
    wanted = torch.tensor([math.log(2), math.log(4 / 3), math.log(4)], dtype=torch.float64)
    assert_close(bradley_terry_losses(margins), wanted, rtol=1e-12, atol=0)


def test_the_gradient_is_minus_the_probability_of_the_other_choice():
    margins = torch.tensor([0.0, math.log(3.0)], dtype=torch.float64, requires_grad=True)
    bradley_terry_losses(margins).sum().backward()
    assert_close(margins.grad, torch.tensor([-0.5, -0.25], dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("margin", "loss"), [(1000.0, 0.0), (-1000.0, 1000.0)])
def test_large_margins_stay_finite(margin, loss):
    margins = torch.tensor([margin], requires_grad=True)
    losses = bradley_terry_losses(margins)
    losses.sum().backward()
    assert losses.item() == loss
    assert torch.isfinite(margins.grad).all()
