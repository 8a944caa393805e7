import math
from dataclasses import replace

import pytest
import torch

from drpt.objectives.policy import num_response_tokens
from drpt.rl.choices import KlGradient, Normalisation, TargetObjective
from drpt.rl.group_advantages import pool_normalised
from drpt.rl.grpo import PolicyRows, PolicyTerms
from drpt.rl.target_objectives import TargetRows, target_losses, target_row_weights, token_pg_losses
from tests.reference import grpo as reference

MASK = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0]]).bool()
TERMS = PolicyTerms(clip_low=0.2, clip_high=0.28, importance_cap=2.0, kl_coefficient=0.1, kl_gradient=KlGradient.K3)
PLAIN = replace(TERMS, importance_cap=None, kl_coefficient=0.0)
REWARDS = [1.0, 0.0, 0.0, 0.3, 1.0]


def some_rows(spread=0.4):
    logprobs = (-torch.rand(5, 5, dtype=torch.float64) - 0.1).requires_grad_()
    others = [logprobs.detach() + spread * torch.randn(5, 5, dtype=torch.float64) for _ in range(3)]
    policy = PolicyRows(
        old_logprobs=others[0],
        advantages=torch.randn(5, dtype=torch.float64),
        response_mask=MASK,
        engine_logprobs=others[1],
        reference_logprobs=others[2],
    )
    return logprobs, TargetRows(policy=policy, rewards=pool_normalised(torch.tensor(REWARDS, dtype=torch.float64)))


def chunk_of(rows, place):
    names = ("old_logprobs", "advantages", "response_mask", "engine_logprobs", "reference_logprobs")
    return TargetRows(
        policy=PolicyRows(**{name: getattr(rows.policy, name)[place] for name in names}), rewards=rows.rewards[place]
    )


def total_of(objective, logprobs, rows, terms, normalisation=Normalisation.SEQUENCE, chunk=5):
    weights = target_row_weights(objective, num_response_tokens(MASK), normalisation, max_tokens=6)
    total = 0.0
    for start in range(0, len(logprobs), chunk):
        place = slice(start, start + chunk)
        losses = target_losses(objective, logprobs[place], chunk_of(rows, place), terms)
        total = total + weights.scale * (weights.base_weights[place] * losses).sum()
    return total


@pytest.mark.parametrize("objective", TargetObjective)
@pytest.mark.parametrize("normalisation", Normalisation)
@pytest.mark.parametrize("chunk", [5, 2, 1])
def test_chunks_add_up_to_the_definition_and_so_do_gradients(objective, normalisation, chunk):
    logprobs, rows = some_rows()
    total = total_of(objective, logprobs, rows, TERMS, normalisation, chunk)
    policy = rows.policy
    is_training = objective.value.startswith("train_loss")
    expected = reference.target_objective(
        objective.value, logprobs, policy.old_logprobs, policy.advantages, REWARDS, MASK,
        normalisation=normalisation.value, max_tokens=6, low=0.2, high=0.28, beta=0.1, cap=2.0,
        **({"reference": policy.reference_logprobs, "engine": policy.engine_logprobs} if is_training else {}),
    )  # fmt: skip
    torch.testing.assert_close(total, expected, rtol=1e-6, atol=1e-7)  # ω is float32
    grads = [torch.autograd.grad(each, logprobs, retain_graph=True)[0] for each in (total, expected)]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-6, atol=1e-8)


def one_row():
    """Two response tokens, log π = −1 and −2, A = 3, r̃ = 0.5, ratios 2 and 1/4."""
    logprobs = torch.tensor([[0.0, -1.0, -2.0]], dtype=torch.float64)
    policy = PolicyRows(
        old_logprobs=logprobs - torch.log(torch.tensor([[1.0, 2.0, 0.25]], dtype=torch.float64)),
        advantages=torch.tensor([3.0], dtype=torch.float64),
        response_mask=torch.tensor([[False, True, True]]),
    )
    return logprobs, TargetRows(policy=policy, rewards=torch.tensor([0.5], dtype=torch.float64))


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (TargetObjective.REWARD, 1.5),  # −0.5 · (−1 − 2)
        (TargetObjective.TOKEN_PG, 4.5),  # −3 · (−1 − 2) / 2
        (TargetObjective.TRAIN_LOSS, -(1.28 * 3 + 0.25 * 3) / 2),  # the ratio of 2 is clipped at 1.28
        (TargetObjective.TRAIN_LOSS_PRECLIP, -(2 * 3 + 0.25 * 3) / 2),
    ],
)
def test_worked_values(objective, expected):
    logprobs, rows = one_row()
    assert float(target_losses(objective, logprobs, rows, PLAIN)) == pytest.approx(expected, rel=1e-12)


def test_on_policy_both_training_losses_have_the_gradient_of_the_token_policy_gradient():
    logprobs, rows = some_rows(spread=0.0)
    kinds = (TargetObjective.TOKEN_PG, TargetObjective.TRAIN_LOSS, TargetObjective.TRAIN_LOSS_PRECLIP)
    grads = [torch.autograd.grad(total_of(kind, logprobs, rows, PLAIN), logprobs)[0] for kind in kinds]
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(grads[2], grads[0], rtol=1e-12, atol=0)


def test_without_clipping_every_token_has_a_gradient():
    logprobs, rows = some_rows(spread=2.0)
    counts = MASK.clone()
    counts[:, 0] = False
    grads = {}
    for objective in (TargetObjective.TRAIN_LOSS, TargetObjective.TRAIN_LOSS_PRECLIP):
        (grads[objective],) = torch.autograd.grad(total_of(objective, logprobs, rows, PLAIN), logprobs)
    assert bool((grads[TargetObjective.TRAIN_LOSS_PRECLIP][counts] != 0).all())
    assert bool((grads[TargetObjective.TRAIN_LOSS][counts] == 0).any())


@pytest.mark.parametrize("objective", [TargetObjective.REWARD, TargetObjective.TOKEN_PG])
@pytest.mark.parametrize("normalisation", Normalisation)
def test_the_policy_gradients_weigh_rows_equally_whatever_training_does(objective, normalisation):
    weights = target_row_weights(objective, torch.tensor([1, 3, 0, 4]), normalisation, max_tokens=9)
    assert weights.base_weights.tolist() == [0.25] * 4
    assert weights.scale == 1.0


def test_equal_rewards_still_give_a_direction():
    """All right: the gradient asks for every token of the responses, with weight 1/2."""
    logprobs, rows = some_rows()
    right = replace(rows, rewards=pool_normalised(torch.ones(5, dtype=torch.float64)))
    total_of(TargetObjective.REWARD, logprobs, right, PLAIN).backward()
    counts = MASK.clone()
    counts[:, 0] = False
    expected = torch.where(counts, -0.5 / 5, 0.0).double()
    torch.testing.assert_close(logprobs.grad, expected, rtol=1e-6, atol=0)  # ω is float32


@pytest.mark.parametrize("objective", TargetObjective)
def test_a_row_without_response_tokens_is_zero(objective):
    logprobs, rows = some_rows()
    losses = target_losses(objective, logprobs, rows, TERMS)
    assert losses[2] == 0
    losses.sum().backward()
    assert not logprobs.grad[2].any()
    assert bool(logprobs.grad.isfinite().all())


def test_advantages_may_differ_from_token_to_token_and_be_anything_outside():
    """−(2 · (−1) + 4 · (−2)) / 2 = 5."""
    logprobs = torch.tensor([[0.0, -1.0, -2.0, 0.0]], dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([[math.nan, 2.0, 4.0, math.nan]], dtype=torch.float64)
    losses = token_pg_losses(logprobs, advantages, torch.tensor([[False, True, True, False]]))
    assert losses.tolist() == [5.0]
    losses.sum().backward()
    assert logprobs.grad.tolist() == [[0.0, -1.0, -2.0, 0.0]]
