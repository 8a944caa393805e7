"""What a rule does in a module's place is compared with what the module does, in any precision."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from drpt.capture.capture import GradientCapture
from drpt.capture.checking import checked_use as check_use
from drpt.capture.errors import UnsupportedModuleError
from tests import zoo
from tests.capture.checking.test_check import ROWS, vectors
from tests.capture.helpers import regularizer, step_rows
from tests.capture.layers.test_families import family
from tests.capture.layers.test_own_code import Net, OwnNorm, assert_equals_brute_force


class StraightThrough(nn.Linear):
    """Its own gradient is not that of what it computes."""

    def forward(self, x):
        y = F.linear(x, self.weight, self.bias)
        return y + (y.round() - y).detach()


class NoFlow(nn.Linear):
    def forward(self, x):
        return F.linear(x.detach(), self.weight, self.bias)


class Squared(nn.Embedding):
    """Calls itself a table, and is none."""

    def forward(self, token_ids):
        return super().forward(token_ids).square()


@pytest.mark.parametrize("layer", [StraightThrough, NoFlow, Squared])
def test_own_code_keeps_its_own_gradient(layer):
    torch.manual_seed(2)
    part = {"layer": layer(6, 6)}
    if layer is Squared:
        model = Net(lambda n, x: n.last(n.layer(x[..., 0].long().abs()) + x), last=nn.Linear(6, 6), **part)
    else:
        model = Net(lambda n, x: n.last(n.layer(n.first(x))), first=nn.Linear(6, 6), last=nn.Linear(6, 6), **part)
    assert_equals_brute_force(model.double(), vectors())


class Counting(nn.Module):
    """Remembers how often it has been called, and says so."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(6))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        self.count += 1
        return x * self.scale + self.count


def test_buffers_are_left_as_one_forward_pass_leaves_them():
    model = Net(lambda n, x: n.linear(n.counting(x)), counting=Counting(), linear=nn.Linear(6, 6)).double()
    with GradientCapture(model, regularizer()).step(step_rows()) as step:
        step.backward(model(vectors()))
    assert float(model.counting.count) == 1


@pytest.mark.parametrize("name", ["q_proj", "v_proj", "down_proj", "lm_head", "embed_tokens", "norm"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_rule_that_forms_nothing_is_found_in_any_precision(name, dtype, monkeypatch):
    """Many tokens: their gradients largely cancel, and rounding must not be an excuse."""
    model = zoo.llama(tied=False).to(dtype)
    token_ids = torch.randint(1, zoo.TOKENS, (ROWS, 64), generator=torch.Generator().manual_seed(3))
    formed = check_use.formed_gradient

    def nothing(use):
        gradient, *sizes = formed(use)
        return gradient * 0, *sizes

    record = check_use.CheckedUse.record

    def broken(self, uses):
        monkeypatch.setattr(check_use, "formed_gradient", nothing if self._path.endswith(name) else formed)
        record(self, uses)

    monkeypatch.setattr(check_use.CheckedUse, "record", broken)
    with (
        pytest.raises(UnsupportedModuleError, match=rf"{name} .* gets for weight a gradient that is 100 % away"),
        GradientCapture(model, regularizer()).step(step_rows()) as step,
    ):
        step.backward(model((token_ids, torch.full((ROWS,), 64))))


def test_inputs_that_are_changed_in_place_are_named():
    model = Net(lambda n, x: n.linear(n.inner(n.first(x))), first=nn.Linear(6, 6), inner=OwnInPlace(), linear=nn.Linear(6, 6))
    with (
        pytest.raises(UnsupportedModuleError, match=r"inner \(OwnInPlace\) changes its input in place"),
        GradientCapture(model.double(), regularizer()).step(step_rows()),
    ):
        model(vectors())


class OwnInPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(6))

    def forward(self, x):
        return x.mul_(self.scale)


def test_dropout_inside_a_module_is_the_same_in_its_reference():
    class Dropped(OwnNorm):
        def forward(self, x):
            return F.dropout(super().forward(x), 0.5)

    model = Net(lambda n, x: n.linear(n.norm(x)), norm=Dropped(lambda w: w), linear=nn.Linear(6, 6)).double()
    with GradientCapture(model, regularizer()).step(step_rows()) as step:
        step.backward(model(vectors()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["tied llama", "gpt2 (conv1d, positions of all rows)", "Mixtral", "OPT"])
def test_lower_precision_passes(name, dtype):
    model = (family(name) if name in {"Mixtral", "OPT"} else zoo.build(name)).to(dtype)
    with GradientCapture(model, regularizer()).step(step_rows()) as step:
        step.backward(model(zoo.inputs_for(model, ROWS)))


def test_autocast_passes():
    model = zoo.build("untied llama with biases").float()
    capture = GradientCapture(model, regularizer())
    with torch.autocast("cpu", dtype=torch.bfloat16), capture.step(step_rows()) as step:
        step.backward(model(zoo.inputs_for(model, ROWS)))
