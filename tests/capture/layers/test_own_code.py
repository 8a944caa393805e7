"""Whatever a module computes of its parameters, under a capture it is what it was, and the update is the definition's.

Each model here is one that a rule which goes by names or shapes gets wrong.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.capture.helpers import CLOSE, M, N, capture_of, regularizer, step_rows
from tests.reference import per_sample

ROUNDED_INSIDE = {"rtol": 1e-4, "atol": 1e-6}  # norms and routers of transformers work in float32 whatever their input


def assert_equals_brute_force(model, inputs, close=CLOSE, *, check=True, **options):
    """Alignments of all blocks, and the update; both against one backward pass a row, without a capture."""
    rows = per_sample.per_sample_grads(model, model(inputs))
    expected = per_sample.updates(rows, N, [1 / N] * N, feasible_set="subset", strength=0.5, partition="layer")
    trained = copy.deepcopy(model)
    with capture_of(trained, regularizer(**options), check=check).step(step_rows()) as step:
        losses = step.backward(trained(inputs))
    torch.testing.assert_close(losses, model(inputs), **close)  # the model computes what it computes without
    for name, parameter in trained.named_parameters():
        if parameter.requires_grad:
            found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(found, expected[name], **close, msg=lambda text, name=name: f"{name}: {text}")


class Net(nn.Module):
    """A network given by a function of its parts, over rows of vectors; gives one loss a row."""

    def __init__(self, compute, **parts) -> None:
        super().__init__()
        self.compute = compute
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.compute(self, x).square().flatten(1).mean(dim=1)


def _vectors(length=4):
    return torch.randn(N + M, length, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _changed_in_place(net, x):
    y = net.linear(x)
    y += x
    return y


def _masked_in_place(net, x):
    return net.linear(x).masked_fill_(x > 1, 0.5)


def _relative_positions(net, x):
    length = x.shape[1]
    places = torch.arange(length)
    bias = net.table(places[None, :] - places[:, None] + length - 1)  # [token, token, head]
    scores = x @ x.mT + bias.permute(2, 0, 1).mean(dim=0)
    return net.linear(scores.softmax(dim=-1) @ x)


NETS = {
    "relu in place": lambda: Net(
        lambda n, x: n.body(x), body=nn.Sequential(nn.Linear(6, 6), nn.ReLU(inplace=True), nn.Linear(6, 6))
    ),
    "sum in place": lambda: Net(_changed_in_place, linear=nn.Linear(6, 6)),
    "mask in place": lambda: Net(_masked_in_place, linear=nn.Linear(6, 6)),
    "product in place, no bias": lambda: Net(lambda n, x: n.linear(x).mul_(x), linear=nn.Linear(6, 6, bias=False)),
    "table in place": lambda: Net(
        lambda n, x: n.linear(n.table(x[..., 0].long().abs()).add_(x)), table=nn.Embedding(9, 6), linear=nn.Linear(6, 6)
    ),
    "positions repeated": lambda: Net(
        lambda n, x: n.linear(x + n.table(torch.arange(x.shape[1])).repeat(len(x), 1, 1)),
        table=nn.Embedding(9, 6),
        linear=nn.Linear(6, 6),
    ),
    "positions expanded": lambda: Net(
        lambda n, x: n.linear(x + n.table(torch.arange(x.shape[1])).expand(len(x), -1, -1)),
        table=nn.Embedding(9, 6),
        linear=nn.Linear(6, 6),
    ),
    "positions indexed": lambda: Net(
        lambda n, x: n.linear(x + n.table(torch.arange(x.shape[1])[None])[0]), table=nn.Embedding(9, 6), linear=nn.Linear(6, 6)
    ),
    "positions squeezed": lambda: Net(
        lambda n, x: n.linear(x + n.table(torch.arange(x.shape[1])[None]).squeeze(0)),
        table=nn.Embedding(9, 6),
        linear=nn.Linear(6, 6),
    ),
    "positions times two": lambda: Net(
        lambda n, x: n.linear(2 * n.table(torch.arange(x.shape[1])[None]) * 0.5 + x),
        table=nn.Embedding(9, 6),
        linear=nn.Linear(6, 6),
    ),
    "positions projected": lambda: Net(
        lambda n, x: n.linear(x + n.project(n.table(torch.arange(x.shape[1])[None])).tanh()),
        table=nn.Embedding(9, 4),
        project=nn.Linear(4, 6),
        linear=nn.Linear(6, 6),
    ),
    "positions normed": lambda: Net(
        lambda n, x: n.linear(x * n.norm(n.table(torch.arange(x.shape[1])))),
        table=nn.Embedding(9, 6),
        norm=nn.LayerNorm(6),
        linear=nn.Linear(6, 6),
    ),
    "positions in front": lambda: Net(
        lambda n, x: n.linear(torch.cat([n.table(torch.arange(3)[None]).expand(len(x), -1, -1), x], dim=1)),
        table=nn.Embedding(9, 6),
        linear=nn.Linear(6, 6),
    ),
    "relative positions": lambda: Net(_relative_positions, table=nn.Embedding(20, 2), linear=nn.Linear(6, 6)),
    "shared table of constants": lambda: Net(
        lambda n, x: n.linear(x) + n.project(torch.linspace(-1, 1, 4 * 6, dtype=x.dtype).view(4, 6)),
        project=nn.Linear(6, 6),
        linear=nn.Linear(6, 6),
    ),
    "rows merged": lambda: Net(
        lambda n, x: n.second(n.linear(x.flatten(0, 1)).tanh()).view_as(x), linear=nn.Linear(6, 6), second=nn.Linear(6, 6)
    ),
    "called by keyword": lambda: Net(
        lambda n, x: n.linear(input=n.norm(input=x)), norm=nn.LayerNorm(6), linear=nn.Linear(6, 6)
    ),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("products", ["auto", "pairwise"])
def test_model_sees_what_it_sees_without_a_capture(name, products):
    torch.manual_seed(2)
    assert_equals_brute_force(NETS[name]().double(), _vectors(), products=products)


class OwnNorm(nn.Module):
    """A norm whose scale is some function of its weight."""

    def __init__(self, function) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(6) + 0.5)
        self.function = function

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.function(self.weight)


class OwnRMSNorm(OwnNorm):
    """The name that rules went by."""


class CastLinear(nn.Linear):
    """Computes in another dtype than its own."""

    def forward(self, x):
        return (x.float() @ self.weight.float().t()).to(x.dtype) + self.bias


class TransposedLinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(6, 6) * 0.4)
        self.shift = nn.Parameter(torch.randn(6))

    def forward(self, x):
        return torch.addmm(self.shift, x.reshape(-1, 6), self.kernel).view_as(x)


class MaskedLinear(nn.Linear):
    """Uses its matrix otherwise than as a whole."""

    def forward(self, x):
        return F.linear(x, self.weight * (self.weight.detach() > 0), self.bias)


class LearnedPositions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(1, 1, 6))
        self.places = nn.Parameter(torch.randn(1, 9, 6))
        self.gate = nn.Parameter(torch.randn(()))
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        x = torch.cat([self.start.expand(len(x), -1, -1), x], dim=1)
        return self.linear(x + self.gate.tanh() * self.places[:, : x.shape[1]])


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.randn(6))
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        return self.linear(x) * self.gate


class AttentionBias(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(2, 4, 4))

    def forward(self, x):
        heads = x.unflatten(2, (2, 3)).transpose(1, 2)
        return F.scaled_dot_product_attention(heads, heads, heads, attn_mask=self.bias[None]).transpose(1, 2).flatten(2)


class _ScaledAndScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(6))

    def forward(self, x):
        return x * self.scale, self.scale


class TwoResults(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = _ScaledAndScale()

    def forward(self, x):
        scaled, scale = self.inner(x)
        return scaled + scale.square()


OWN_CODE = {
    "weight over its length": lambda: OwnRMSNorm(lambda w: w / w.norm()),
    "softmax of the weight": lambda: OwnRMSNorm(lambda w: w.softmax(dim=-1)),
    "weight less its mean": lambda: OwnRMSNorm(lambda w: w - w.mean()),
    "weight with another axis": lambda: OwnRMSNorm(lambda w: w[:, None].squeeze(1)),
    "one plus weight": lambda: OwnNorm(lambda w: 1.0 + w.to(torch.float64)),
    "weight beside numbers of its shape": lambda: OwnNorm(lambda w: w + torch.ones_like(w)),
    "spectrum of the weight": lambda: OwnNorm(lambda w: torch.fft.irfft(torch.fft.rfft(w) * 0.5, n=6)),
    "attention bias": AttentionBias,
    "returns what it uses": TwoResults,
    "weight cast as the input": lambda: OwnNorm(lambda w: w.type_as(torch.ones(1, dtype=torch.float64))),
    "weight used twice": lambda: OwnNorm(lambda w: w * w),
    "cast linear": lambda: CastLinear(6, 6),
    "transposed linear": TransposedLinear,
    "masked linear": lambda: MaskedLinear(6, 6),
    "convolution": lambda: nn.Sequential(nn.Conv1d(4, 5, 3, padding=1), nn.Conv1d(5, 4, 1)),
    "group norm": lambda: nn.GroupNorm(2, 4),
    "learned vectors": LearnedPositions,
    "gate": Gated,
    "prelu": lambda: nn.Sequential(nn.Linear(6, 6), nn.PReLU()),
}


@pytest.mark.parametrize("name", OWN_CODE)
def test_modules_run_their_own_code(name):
    torch.manual_seed(3)
    close = ROUNDED_INSIDE if name == "cast linear" else CLOSE
    model = Net(lambda n, x: n.last(n.part(n.first(x))), first=nn.Linear(6, 6), part=OWN_CODE[name](), last=nn.Linear(6, 6))
    assert_equals_brute_force(model.double(), _vectors(), close)
