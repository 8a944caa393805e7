"""No method but `direct` ever holds a tensor of as many numbers as there are examples times parameters."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from drpt.capture.products.sketch_spec import SketchSpec
from tests.capture.helpers import M, N, capture_of, regularizer, step_rows

WIDTH = 96  # of the square layers; two tokens a row, so that every other tensor is far smaller than a gradient a row
SKETCH = SketchSpec(kind="gaussian", left_width=8, right_width=8, seed=0, refresh_steps=None)


class LargestTensor(TorchDispatchMode):
    """Watches every operation's outputs."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor) and not func.is_view:
                self.numel = max(self.numel, tensor.numel())
        return out


def layers():
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH, bias=False)), torch.randn(N + M, 2, WIDTH)


class TiedTable(nn.Module):
    """A table as input and as output, a norm between them."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, WIDTH, bias=False)
        self.head.weight = self.table.weight

    def forward(self, token_ids):
        return self.head(self.norm(self.table(token_ids)))


def tied_table():
    return TiedTable(), torch.randint(0, WIDTH, (N + M, 2))


def largest_tensor(reg, build=layers, **options):
    torch.manual_seed(0)
    model, inputs = build()
    capture = capture_of(model, reg, **options)
    with LargestTensor() as watched, capture.step(step_rows(weights=torch.full((N,), 1 / N))) as step:
        step.backward(model(inputs).square().mean(dim=(1, 2)))
    return watched.numel


@pytest.mark.parametrize("build", [layers, tied_table])
@pytest.mark.parametrize(("partition", "activation_budget_mib"), [("layer", 1000.0), ("global", 1000.0), ("global", 0.0)])
@pytest.mark.parametrize("feasible_set", ["subset", "hull"])
@pytest.mark.parametrize("products", ["reduced", "pairwise", "sketch"])
def test_no_tensor_of_examples_times_parameters(products, feasible_set, partition, activation_budget_mib, build):
    reg = regularizer(feasible_set, products=products, partition=partition)
    options = {"sketch": SKETCH} if products == "sketch" else {}
    assert largest_tensor(reg, build, activation_budget_mib=activation_budget_mib, **options) <= WIDTH * WIDTH


def test_direct_keeps_within_its_budget(monkeypatch):
    reg = regularizer("hull", products="direct")
    assert largest_tensor(reg) == (N + M) * WIDTH * WIDTH
    monkeypatch.setattr("drpt.capture.products.direct._HELD_ELEMENTS", WIDTH * WIDTH // 2)
    assert largest_tensor(reg) <= WIDTH * WIDTH
