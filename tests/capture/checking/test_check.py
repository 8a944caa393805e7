"""The check refuses every model whose update would be wrong, and lets the others pass as if it were not there."""

import copy
import logging
from functools import partial

import pytest
import torch
from torch import nn

from drpt.capture.capture import GradientCapture
from drpt.capture.errors import UnsupportedModuleError
from drpt.errors import NonFiniteGradientError
from drpt.geometry.products import NonFiniteProductsError
from tests import zoo
from tests.capture.batches import one_batch, updates_of
from tests.capture.helpers import M, N, assert_equal_grads, capture_of, captured_grads, micro_batches, regularizer, step_rows
from tests.capture.layers.test_families import family
from tests.capture.layers.test_own_code import NETS, Net, OwnNorm, assert_equals_brute_force

ROWS = N + M


def vectors(length=4, seed=1):
    return torch.randn(ROWS, length, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _sequence_first(net, x):
    return net.second(net.first(x.transpose(0, 1)).cumsum(dim=0).tanh()).transpose(0, 1)


def _own_table(net, x):
    table = torch.linspace(-1, 1, x.shape[1] * 6, dtype=x.dtype).view(-1, 6)
    return net.first(x) + net.second(table)


def _sorted(net, x):
    order = x.sum(dim=(1, 2)).argsort()
    return net.second(net.first(x)[order])[order.argsort()]


def _contrastive(net, x):
    y = net.second(net.first(x).tanh()).flatten(1)
    return (y @ y.T).log_softmax(dim=-1).diagonal()[:, None]


def _pair():
    return {"first": nn.Linear(6, 6), "second": nn.Linear(6, 6)}


# What is wrong about each: the update without the check is off by the share given (see `test_without_the_check…`).
REFUSED = {
    "rows second, as many tokens as rows": (lambda: Net(_sequence_first, **_pair()), 7),
    "table with as many entries as rows": (lambda: Net(_own_table, **_pair()), 7),
    "relative positions, as many tokens as rows": (NETS["relative positions"], 7),
    "rows sorted": (lambda: Net(_sorted, **_pair()), 4),
    "rows reversed": (lambda: Net(lambda n, x: n.second(n.first(x).flip(0)).flip(0), **_pair()), 4),
    "batch norm": (lambda: Net(lambda n, x: n.second(n.norm(n.first(x))), norm=nn.BatchNorm1d(4, affine=False), **_pair()), 4),
    "softmax over rows": (lambda: Net(lambda n, x: n.second(n.first(x).softmax(dim=0)), **_pair()), 4),
    "mean of the batch taken off": (lambda: Net(lambda n, x: n.second(n.first(x)) - n.first(x).mean(dim=0), **_pair()), 4),
    "contrastive loss": (lambda: Net(_contrastive, **_pair()), 4),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("partition", ["layer", "global"])
def test_wrong_updates_are_refused(name, partition):
    torch.manual_seed(2)
    build, length = REFUSED[name]
    model = build().double()
    capture = GradientCapture(model, regularizer(partition=partition))
    with (
        pytest.raises(
            UnsupportedModuleError, match=r"check failed: examples do not stay apart in .*trainer\.check_capture=false"
        ),
        capture.step(step_rows()) as step,
    ):
        step.backward(model(vectors(length)))
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", REFUSED)
def test_without_the_check_they_would_be_wrong(name):
    torch.manual_seed(2)
    build, length = REFUSED[name]
    with pytest.raises(AssertionError):
        assert_equals_brute_force(build().double(), vectors(length, seed=5), check=False)


def test_an_axis_as_long_as_the_batch_is_checked_when_it_comes():
    """Sequence-first models are refused at once; those that share a table by its shape only when the two can be mixed up."""
    torch.manual_seed(2)
    model = NETS["relative positions"]().double()
    capture = GradientCapture(model, regularizer())
    for length in (4, 5, 4):
        with capture.step(step_rows()) as step:
            step.backward(model(vectors(length)))
    with pytest.raises(UnsupportedModuleError, match="examples do not stay apart in table"), capture.step(step_rows()) as step:
        step.backward(model(vectors(ROWS)))


class Masked(nn.Module):
    """A scale and a mask of seven numbers, which in a batch of seven rows look like one a row."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(7))
        self.register_buffer("mask", torch.linspace(0, 1, 7))

    def forward(self, x):
        return (self.scale * self.mask).sum() * x


def test_parameters_as_long_as_the_batch_are_checked_when_it_comes():
    torch.manual_seed(2)
    model = Net(lambda n, x: n.linear(n.masked(x)), masked=Masked(), linear=nn.Linear(6, 6)).double()
    capture = GradientCapture(model, regularizer())
    with capture.step(step_rows(n=4)) as step:
        step.backward(model(vectors()[:6]))
    with pytest.raises(UnsupportedModuleError, match="examples do not stay apart in masked"), capture.step(step_rows()) as step:
        step.backward(model(vectors()))


class HeadBias(nn.Module):
    """One bias for two heads, expanded along an axis that in a batch of two rows looks like theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(1, 5, 5))

    def forward(self, x):
        heads = x.tanh().unflatten(2, (2, 3)).transpose(1, 2)
        scores = heads @ heads.mT + self.bias.expand(2, -1, -1)[None, :, : x.shape[1], : x.shape[1]]
        return (scores.softmax(-1) @ heads).transpose(1, 2).flatten(2)


def test_another_number_of_rows_is_checked_when_it_comes():
    torch.manual_seed(2)
    model = Net(
        lambda n, x: n.last(n.heads(n.first(x))), first=nn.Linear(6, 6), heads=HeadBias(), last=nn.Linear(6, 6)
    ).double()
    capture = GradientCapture(model, regularizer())
    with capture.step(step_rows()) as step:
        step.backward(model(vectors()))
    with pytest.raises(UnsupportedModuleError, match="the capture's check failed"), capture.step(step_rows(n=1, m=1)) as step:
        step.backward(model(vectors()[:2]))


def test_modules_that_come_later_are_checked():
    torch.manual_seed(2)
    model = Net(lambda n, x: n.second(n.first(x)).flip(0) if n.is_late else n.first(x), **_pair()).double()
    model.is_late = False
    capture = GradientCapture(model, regularizer())
    with capture.step(step_rows()) as step:
        step.backward(model(vectors()))
    model.is_late = True
    with pytest.raises(UnsupportedModuleError, match="examples do not stay apart"), capture.step(step_rows()) as step:
        step.backward(model(vectors()))


def test_the_tenth_step_is_checked_again():
    torch.manual_seed(2)
    model = Net(lambda n, x: n.second(n.first(x)).flip(0) if n.is_late else n.second(n.first(x)), **_pair()).double()
    model.is_late = False
    capture = GradientCapture(model, regularizer())
    for number in range(1, 11):
        model.is_late = number > 1
        opened = capture.step(step_rows())
        if number < 10:
            with opened as step:
                step.backward(model(vectors()))
        else:
            with pytest.raises(UnsupportedModuleError, match="examples do not stay apart"), opened as step:
                step.backward(model(vectors()))


@pytest.mark.parametrize("partition", ["layer", "global"])
@pytest.mark.parametrize("name", zoo.MODELS)
def test_the_check_passes_and_changes_nothing(name, partition):
    model = zoo.build(name)
    inputs = zoo.inputs_for(model, ROWS)
    random = torch.get_rng_state()
    checked, _ = captured_grads(model, inputs, step_rows(), regularizer(partition=partition), check=True)
    assert torch.equal(random, torch.get_rng_state())
    plain, _ = captured_grads(model, inputs, step_rows(), regularizer(partition=partition), check=False)
    for key, grad in plain.items():  # to the last bit: a resumed run checks in another step
        assert (grad is None and checked[key] is None) or torch.equal(grad, checked[key]), key


@pytest.mark.parametrize("activation_budget_mib", [4096.0, 0.0])
def test_steps_of_several_batches_are_checked(activation_budget_mib):
    """Kept, and computed again."""
    model = zoo.build("checkpointed llama")
    token_ids, lengths = zoo.inputs_for(model, ROWS)
    batches = ([5, 6], [0, 1, 2, 3, 4])
    grads = []
    for check in (True, False):
        trained = copy.deepcopy(model)
        capture = capture_of(trained, regularizer(partition="global"), activation_budget_mib=activation_budget_mib, check=check)
        with capture.step(step_rows(), micro_batches=micro_batches(batches)) as step:
            for rows in batches:
                step.backward(partial(trained, (token_ids[rows], lengths[rows])))
        grads.append({name: parameter.grad for name, parameter in trained.named_parameters()})
    assert_equal_grads(*grads)


@pytest.mark.parametrize("swapped", [(0, 1), (2, 6), (3, 4), (5, 6)])
def test_any_two_rows_that_are_swapped_are_seen(swapped):
    order = list(range(ROWS))
    order[swapped[0]], order[swapped[1]] = order[swapped[1]], order[swapped[0]]
    model = Net(lambda n, x: n.second(n.first(x)[order])[order], **_pair()).double()
    with (
        pytest.raises(UnsupportedModuleError, match="examples do not stay apart in second"),
        GradientCapture(model, regularizer()).step(step_rows()) as step,
    ):
        step.backward(model(vectors()))


def test_hooks_on_parameters_are_refused():
    model = zoo.build("one layer")
    handle = model.net.weight.register_hook(lambda grad: 2 * grad)
    with (
        pytest.raises(UnsupportedModuleError, match=r"net\.weight has a hook"),
        GradientCapture(model, regularizer()).step(step_rows()),
    ):
        pass
    handle.remove()


def test_sequences_first_in_own_code_are_refused_in_words():
    model = Net(lambda n, x: n.inner(x.transpose(0, 1)).transpose(0, 1), inner=OwnNorm(lambda w: w)).double()
    with (
        pytest.raises(UnsupportedModuleError, match="the batch's rows are not the first axis"),
        GradientCapture(model, regularizer()).step(step_rows()) as step,
    ):
        step.backward(model(vectors()))


def test_layers_that_are_left_out_at_random_are_not_checked_for_ever(caplog):
    caplog.set_level(logging.INFO, logger="drpt.capture.checking.check")
    parts = {f"layer{i}": nn.Linear(6, 6) for i in range(5)}
    model = Net(lambda n, x: x, **parts).double()
    capture = GradientCapture(model, regularizer())
    for number in range(1, 32):
        chosen = [i for i in range(5) if number >> i & 1]
        with capture.step(step_rows()) as step:
            x = vectors()
            for i in chosen:
                x = getattr(model, f"layer{i}")(x).tanh()
            step.backward(x.square().mean(dim=(1, 2)))
    # Eight sets, whatever holds a module for the first time, and the tenth step.
    assert len(caplog.records) <= 8 + 5 + 1


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("name", ["tied llama", "gpt2 (conv1d, positions of all rows)", "Mixtral"])
def test_padded_and_packed_batches_are_checked(name, is_packed, caplog):
    caplog.set_level(logging.INFO, logger="drpt.capture.checking.check")
    model = family(name) if name == "Mixtral" else zoo.build(name)
    checked, _ = updates_of(model, regularizer(), [one_batch(is_packed)], check=True)
    assert "the capture's check passed" in caplog.text
    plain, _ = updates_of(model, regularizer(), [one_batch(is_packed)])
    assert_equal_grads(checked, plain)


def test_the_log_says_that_it_passed_and_what_it_took(caplog):
    model = zoo.build("one layer")
    capture = GradientCapture(model, regularizer())
    with caplog.at_level(logging.INFO, logger="drpt.capture.checking.check"):
        for _ in range(2):
            with capture.step(step_rows()) as step:
                step.backward(model(zoo.inputs_for(model, ROWS)))
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("the capture's check passed in step 1: in 1 modules")
    assert message.endswith(" s)")


def test_gradients_that_are_not_finite_are_named():
    """The square root of zero has none."""
    model = Net(lambda n, x: n.second((n.first(x) * 0).sqrt()), **_pair()).double()
    with (
        pytest.raises(NonFiniteGradientError, match="first: its gradient is NaN or infinite although the losses are finite"),
        GradientCapture(model, regularizer()).step(step_rows()) as step,
    ):
        step.backward(model(vectors()))


def test_losses_that_are_not_finite_are_left_to_the_caller(caplog):
    caplog.set_level(logging.INFO, logger="drpt.capture.checking.check")
    model = zoo.build("one layer")
    capture = GradientCapture(model, regularizer())
    with pytest.raises(NonFiniteProductsError), capture.step(step_rows()) as step:
        step.backward(model(zoo.inputs_for(model, ROWS)) * float("inf"))
    assert not caplog.records
    with capture.step(step_rows()) as step:
        step.backward(model(zoo.inputs_for(model, ROWS)))
    assert "passed in step 2" in caplog.text
