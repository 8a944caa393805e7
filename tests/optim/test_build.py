"""An optimizer from outside the package is built by its path, checked before a model is loaded, and trained with."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from drpt.metrics import read_metrics
from drpt.optim.build import build_optimizer, check_optimizer
from drpt.optim.spec import OptimizerSpec
from tests.app.conftest import TINY
from tests.optim.test_adamw import GOOD

OWN = "tests.optim.sign_descent.SignDescent"
SPEC = OptimizerSpec(**GOOD | {"betas": None, "eps": None, "weight_decay": None, "name": OWN, "arguments": {"momentum": 0.5}})


def test_it_takes_the_update_with_its_own_arguments_and_follows_the_schedule():
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer, schedule = build_optimizer([weight], replace(SPEC, warmup_share=0.0), num_steps=2)
    assert optimizer.defaults == {"lr": 1e-3, "momentum": 0.5}
    for rate in (1e-3, 0.5e-3):
        weight.grad = torch.tensor([3.0, -0.1])
        before = weight.detach().clone()
        optimizer.step()
        schedule.step()
        torch.testing.assert_close(weight.detach() - before, torch.tensor([-rate, rate]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "my_optimizers.Mine"}, r"optimizer\.name=my_optimizers\.Mine: cannot be imported .*PYTHONPATH"),
        ({"name": "torch.nn.Linear"}, r"optimizer\.name=torch\.nn\.Linear: not a subclass of torch\.optim\.Optimizer"),
        ({"name": "torch.optim.LBFGS", "arguments": {}}, r"optimizer\.name=torch\.optim\.LBFGS: its step failed .*no closure"),
        ({"arguments": {"momentun": 0.5}}, r"optimizer\.arguments\.momentun is not known\. Did you mean 'momentum'\?"),
        ({"arguments": {"momentum": "high"}}, r"optimizer\.arguments\.momentum='high' must be a number"),
        ({"arguments": {"momentum": 2.0}}, r"optimizer\.arguments\.momentum=2\.0 must lie in \[0, 1\)"),
        ({"arguments": {"lr": 1.0}}, r"optimizer\.arguments\.lr is given by drpt itself"),
    ],
)
def test_what_cannot_be_built_is_explained(change, message):
    with pytest.raises(ValueError, match=message):
        check_optimizer(replace(SPEC, **change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, r"^optimizer\.name is needed: add optimizer\.name=…"),
        ({"name": "sgd"}, r"optimizer\.name='sgd' is not known\. Choices: adamw, or the dotted path"),
        ({"eps": 1e-8}, r"optimizer\.eps=1e-08 belongs to AdamW and would be ignored: take optimizer=own"),
        ({"name": "adamw"}, r"optimizer\.arguments=.* belong to an optimizer of yours"),
        ({"name": "adamw", "arguments": {}}, r"optimizer\.betas=null: AdamW needs it"),
    ],
)
def test_keys_of_the_other_kind_of_optimizer_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SPEC, **change)


@pytest.mark.long
def test_a_run_trains_with_it(drpt):
    own = ("optimizer=own", f"optimizer.name={OWN}", "+optimizer.arguments.momentum=0.5", "optimizer.lr=1e-3")
    short = ("trainer.max_steps=2", "evaluation.every_steps=2", "evaluation.num_generate=0")
    status, text = drpt("train", *TINY, *short, *own, "sweep=own")
    assert status == 0, text
    (path,) = Path("runs/own").glob("*/metrics.jsonl")
    losses = {line["step"]: line["value"] for line in read_metrics(path) if line["name"] == "target/loss/mean"}
    assert losses[2] < losses[0]
    status, text = drpt("train", *TINY, *own, "+optimizer.arguments.decay=1")
    assert status == 2
    assert "optimizer.arguments.decay is not known" in " ".join(text.split())
