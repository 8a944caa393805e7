"""What the tests of the capture share."""

import copy

import torch

from drpt.capture.capture import GradientCapture
from drpt.capture.micro_batch import MicroBatch
from drpt.capture.rows import StepRows
from drpt.geometry.catalogue import SETS
from drpt.geometry.products import GeneralRows
from drpt.modules.build_regularizer import build_regularizer
from drpt.modules.regularizer_spec import RegularizerSpec

N, M = 5, 2
# Float64 throughout; sums over some hundred products in another order.
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def regularizer(feasible_set="subset", *, strength=0.5, seed=0, **options):
    defaults = {
        "name": "test",
        "partition": "layer",
        "score": "alignment",
        "relaxation": 0.0,
        "step_size": None,
        "auto_memory": 0.9,
        "products": "auto",
        "base_weights": "example",
        "parameters": "all",
        "choice_scope": "step",
        "stopping_share": 0.0,
    }
    if feasible_set in {"cone", "dual_cone"}:
        strength = 0.0  # neither ridge nor margin
    strength = strength if SETS[feasible_set].strength else None
    return build_regularizer(RegularizerSpec(set=feasible_set, strength=strength, **(defaults | options)), seed=seed)


def capture_of(model, reg, *, check=True, leaves_update=True, **options):
    """A capture with some options of its own; an option that is None is left as it is."""
    changed = reg.with_options(**{name: value for name, value in options.items() if value is not None})
    return GradientCapture(model, changed, check=check, leaves_update=leaves_update)


def step_rows(n=N, m=M, weights=None, step_index=0):
    weights = torch.full((n,), 1 / max(n, 1), dtype=torch.float64) if weights is None else weights
    return StepRows(general=GeneralRows(base_weights=weights, example_ids=torch.arange(n), step_index=step_index), num_target=m)


def micro_batches(groups):
    """Of the examples of each micro-batch, rows in order."""
    return [MicroBatch(examples=list(group)) for group in groups]


def captured_grads(model, inputs, rows, reg, *, check=False, **options):
    """Without the proof, which has tests of its own and takes as long as the rest."""
    model = copy.deepcopy(model)
    capture = capture_of(model, reg, check=check, **options)
    with capture.step(rows) as step:
        step.backward(model(inputs))
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}, step.report()


def assert_equal_grads(actual, expected):
    assert actual.keys() == expected.keys()
    for name, grad in expected.items():
        if actual[name] is None or grad is None:
            assert not any(found is not None and found.any() for found in (actual[name], grad)), name
        else:
            torch.testing.assert_close(actual[name], grad, **CLOSE, msg=lambda text, name=name: f"{name}: {text}")
