"""Sketched per-example gradients: exact without a sketch, unbiased with one."""

import gc
import weakref

import pytest
import torch

from drpt.capture.pool import GradientPool
from tests import zoo
from tests.reference import per_sample


def collect(model, inputs, num_rows, *, width, seed=0, batches=1):
    pool = GradientPool(model, num_examples=num_rows, width=width, seeds=(seed, seed + 1000))
    places = torch.arange(num_rows)
    if batches == 1:
        pool.add(lambda: model(inputs), places)
    else:
        for part in reversed(places.chunk(batches)):  # in any order
            pool.add(lambda part=part: model(tuple(t[part] for t in inputs)), part)
    return pool.gradients(0)


@pytest.mark.parametrize("name", zoo.MODELS)
def test_unsketched_gradients_have_the_exact_gramian(name):
    model = zoo.build(name)
    inputs = zoo.inputs_for(model, 5)
    found = collect(model, inputs, 5, width=None)
    rows = per_sample.per_sample_grads(model, model(inputs))
    assert all(not rows[0][parameter].any() for parameter in rows[0].keys() - found.keys())
    for parameter, gradients in found.items():
        expected = torch.stack([row[parameter].flatten() for row in rows])
        torch.testing.assert_close(gradients @ gradients.T, expected @ expected.T, rtol=1e-9, atol=1e-11)
    assert all(p.grad is None for p in model.parameters())


def test_batches_are_put_together():
    model = zoo.build("tied llama")
    inputs = zoo.inputs_for(model, 6)
    whole, parts = (collect(model, inputs, 6, width=4, batches=batches) for batches in (1, 2))
    for name, gradients in whole.items():
        torch.testing.assert_close(parts[name], gradients, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "name",
    [*(pytest.param(name, marks=pytest.mark.long) for name in ("tied llama", "lora")), "tied with padding_idx and head bias"],
)
def test_sketched_gramians_are_unbiased(name):
    """The mean over many seeds comes to the exact gramian, within four of its standard errors."""
    model = zoo.build(name)
    inputs = zoo.inputs_for(model, 4)
    exact = collect(model, inputs, 4, width=None)

    def total(gradients):
        return sum(g @ g.T for g in gradients.values())

    sketched = torch.stack([total(collect(model, inputs, 4, width=3, seed=seed)) for seed in range(150)])
    error = (sketched.mean(dim=0) - total(exact)).abs()
    assert (error <= 4 * sketched.std(dim=0) / 150**0.5 + 1e-12).all()
    assert (sketched.std(dim=0) > 0).all()


def test_nothing_of_a_batch_stays(monkeypatch):
    """Activations and graph hold each other through the recorded uses; whatever of them stays is gigabytes."""
    from drpt.capture.pool import _PoolStep

    seen = []

    def watched(pool, places, check):
        step = _PoolStep(pool, places, check)
        seen.append(weakref.ref(step))
        return step

    monkeypatch.setattr("drpt.capture.pool._PoolStep", watched)
    model = zoo.build("lora")
    inputs = zoo.inputs_for(model, 4)
    GradientPool(model, num_examples=4, width=4, seeds=(0,)).add(lambda: model(inputs), torch.arange(4))
    gc.collect()
    assert seen[0]() is None
