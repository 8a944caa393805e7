"""The module's steps against a plain loop of torch."""

import pytest
import torch
from lightning.pytorch import Trainer
from torch.testing import assert_close

from drpt.app.api import regularizer
from drpt.data.encoded_pairs import EncodedPairs
from drpt.data.pools import Pools
from drpt.errors import NonFiniteLossError
from drpt.models.load import apply_finetune
from drpt.models.reward_folder import read_reward_config
from drpt.models.reward_model import RewardModel, load_reward_model
from drpt.models.spec import FinetuneSpec
from drpt.modules.regularized import TrainingSpecs
from drpt.modules.reward_modeling import RewardModeling, RewardModelWriter, pair_figures
from drpt.modules.spec import TrainerSpec
from drpt.optim.spec import OptimizerSpec
from tests.data.test_encoded_pairs import pair, spec
from tests.models.encoders import CountingEncoder

HEAD = FinetuneSpec(method="head", rank=None, alpha=None, dropout=None, target_modules=None, default_lr=1e-2)
STEPS = 6


def build(preset):
    pools = Pools(
        general=[pair(i) for i in range(8)], target=[pair(i) for i in range(8, 11)], stopping=[], evaluation=[pair(11)]
    )
    model = apply_finetune(RewardModel(CountingEncoder(torch.float64)).double(), HEAD, seed=0)
    rule = regularizer(preset)
    data_spec = spec()
    data_spec.general_rows = 4
    pairs = EncodedPairs(pools, model, data_spec, seed=0, needs_general=rule.needs_general, needs_target=rule.needs_target)
    module = RewardModeling(
        model,
        rule,
        TrainingSpecs(
            optimizer=OptimizerSpec(
                lr=0.05, betas=[0.9, 0.99], eps=1e-8, weight_decay=0.1, schedule="constant", warmup_share=0.0, clip_norm=None
            ),
            trainer=TrainerSpec(
                max_steps=STEPS,
                accelerator="cpu",
                precision="32-true",
                micro_batches=1,
                activation_budget_mib=64.0,
                check_capture=True,
                score_check_steps=None,
                checkpoint_every_steps=STEPS,
                keep_steps=[],
            ),
            seed=0,
        ),
        pairs=pairs,
    )
    return module, pairs


def fit(module, *callbacks):
    trainer = Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        precision="64-true",
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module)


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*in eval mode at the start.*")
@pytest.mark.parametrize(("preset", "kind"), [("full", "general"), ("target_only", "target")])
def test_equal_to_a_plain_loop(preset, kind):
    module, pairs = build(preset)
    fit(module)
    weight = torch.zeros(1, 10, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.AdamW([weight], lr=0.05, betas=(0.9, 0.99), weight_decay=0.1)
    for step in range(STEPS):
        margins = pairs.step_pairs(step).differences @ weight[0]
        loss = -torch.log(torch.sigmoid(margins)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert pairs.step_pairs(0).num_general == (4 if kind == "general" else 0)
    assert weight.abs().max().item() > 0.1
    # Base weights are float32.
    assert_close(module.model.head.weight, weight.detach(), rtol=1e-6, atol=1e-8)


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*in eval mode at the start.*")
def test_the_writer_leaves_a_folder(tmp_path):
    module, pairs = build("layerwise_subset")
    fit(module, RewardModelWriter(tmp_path, tmp_path / "checkpoints", max_length=16))
    config = read_reward_config(tmp_path / "reward_model")
    assert config.max_length == 16
    assert config.center == pytest.approx((pairs.middle @ module.model.head.weight[0]).item())
    with pytest.raises(ValueError, match="cannot be read as a head of this encoder"):
        load_reward_model(tmp_path / "reward_model")  # of another encoder's width


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*in eval mode at the start.*")
def test_an_infinite_loss_stops_training():
    module, pairs = build("full")
    pairs.differences["general"][:] = float("nan")
    with pytest.raises(NonFiniteLossError, match="step 1: the loss of 4 examples"):
        fit(module)
    assert not module.model.head.weight.any()


def test_equal_scores_count_half():
    figures = pair_figures(torch.tensor([1.0, 0.0, -1.0, 2.0]))
    assert figures["accuracy/mean"] == 0.625
