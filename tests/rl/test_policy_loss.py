"""The target gradient's scale, where a normalisation has one."""

import pytest
import torch

from drpt.models.tiny import tiny_model
from drpt.rl.algorithm_spec import GroupAlgorithmSpec, TargetObjectiveSpec
from drpt.rl.policy_loss import PolicyLoss, group_terms
from drpt.rl.trajectory import Trajectory


def loss_of(normalisation):
    spec = GroupAlgorithmSpec(
        name="x", normalisation=normalisation, clip_low=0.2, clip_high=0.2, epochs=1, old_logprobs="trainer",
        importance_cap=None, advantage="mean", kl_coefficient=0.0, kl_gradient="k3", zero_variance="keep", resample_rounds=1,
        target=TargetObjectiveSpec(source="self", objective="train_loss", refresh_steps=1),
    )  # fmt: skip
    return PolicyLoss(spec, group_terms(spec), temperature=1.0, max_tokens=8, pad_token_id=0)


@pytest.fixture
def given():
    known = {"engine_logprobs": -5.0, "old_logprobs": -5.0}
    rows = [([5, 6], [8, 9, 10], 1.0, 0.5), ([7], [11], 0.0, -0.5)]
    return [
        Trajectory(
            prompt=prompt,
            response=response,
            reward=reward,
            advantages=[advantage] * len(response),
            **{name: [value] * len(response) for name, value in known.items()},
        )
        for prompt, response, reward, advantage in rows
    ]


@pytest.mark.parametrize(("normalisation", "scale"), [("constant", 4 / 16), ("token", 1.0), ("sequence", 1.0)])
def test_v_has_the_scale_where_it_is_the_whole_update_and_else_leaves_it_to_the_step(given, normalisation, scale):
    torch.manual_seed(0)
    model = tiny_model().double()
    loss = loss_of(normalisation)
    assert loss.weights(given).scale == pytest.approx(scale)
    grads = []
    for is_scaled in (True, False):
        model.zero_grad()
        statistics = loss.backward_target(model, given, batch_rows=1, is_scaled=is_scaled)
        assert statistics.num_tokens == 4
        grads.append([parameter.grad for parameter in model.parameters()])
    for whole, plain in zip(*grads, strict=True):
        torch.testing.assert_close(whole, scale * plain, rtol=1e-9, atol=1e-15)
