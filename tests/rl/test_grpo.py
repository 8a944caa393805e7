import math
from dataclasses import replace

import pytest
import torch

from drpt.objectives.counted import at_places, predicting_places
from drpt.objectives.policy import response_tokens
from drpt.rl.choices import KlGradient
from drpt.rl.grpo import PolicyRows, PolicyTerms, engine_weights, policy_losses
from tests.reference import grpo as reference

PPO = PolicyTerms(clip_low=0.2, clip_high=0.2, importance_cap=None, kl_coefficient=0.0, kl_gradient=KlGradient.K3)
MASK = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]).bool()


def some_rows(spread=0.4):
    """Four rows, one of them without response tokens; log-probabilities that differ by some tenths."""
    logprobs = (-torch.rand(4, 5, dtype=torch.float64) - 0.1).requires_grad_()
    others = [logprobs.detach() + spread * torch.randn(4, 5, dtype=torch.float64) for _ in range(3)]
    rows = PolicyRows(
        old_logprobs=others[0],
        advantages=torch.tensor([1.0, -0.7, 2.0, -1.5], dtype=torch.float64),
        response_mask=MASK,
        engine_logprobs=others[1],
        reference_logprobs=others[2],
    )
    return logprobs, rows


def one_token(log_ratio, advantage, terms=PPO, **others):
    """Loss of a row of one token, and its derivative by the token's log-probability."""
    logprobs = torch.tensor([[0.0, -1.0]], dtype=torch.float64, requires_grad=True)
    rows = PolicyRows(
        old_logprobs=torch.tensor([[0.0, -1.0 - log_ratio]], dtype=torch.float64),
        advantages=torch.tensor([advantage], dtype=torch.float64),
        response_mask=torch.tensor([[False, True]]),
        **{name: torch.tensor([[0.0, value]], dtype=torch.float64) for name, value in others.items()},
    )
    losses = policy_losses(logprobs, rows, terms)
    losses.sum().backward()
    return float(losses.detach()), float(logprobs.grad[0, 1])


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.0, 3.0, -3.0, -3.0),  # on-policy: the gradient of −A log π
        (1.1, 3.0, -3.3, -3.3),  # within the bounds: −ρ A, whose derivative is itself
        (1.5, 3.0, -3.6, 0.0),  # a gain beyond 1 + 0.2 counts no further
        (0.5, 3.0, -1.5, -1.5),  # a loss of probability of a good token always counts
        (0.5, -3.0, 2.4, 0.0),  # 0.8 · 3
        (1.5, -3.0, 4.5, 4.5),  # a gain of probability of a bad token always counts
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_worked_values_of_clipping(ratio, advantage, loss, slope):
    assert one_token(math.log(ratio), advantage) == pytest.approx((loss, slope), rel=1e-12, abs=1e-14)


def test_worked_values_of_a_higher_upper_bound():
    higher = replace(PPO, clip_high=0.6)
    assert one_token(math.log(1.5), 3.0, higher) == pytest.approx((-4.5, -4.5), rel=1e-12)
    assert one_token(math.log(2.0), 3.0, higher) == pytest.approx((-4.8, 0.0), rel=1e-12)
    assert one_token(math.log(0.5), -3.0, higher) == pytest.approx((2.4, 0.0), rel=1e-12)


@pytest.mark.parametrize(
    ("gradient", "slope"),
    [
        (KlGradient.K3, -1.0),  # 2 (1 − e^d) = 2 (1 − 3/2)
        (KlGradient.RATIO_K3, -2 * math.log(1.5)),  # 2 (k3 + 1 − e^d) = −2 d
    ],
)
def test_worked_value_of_the_penalty(gradient, slope):
    """ρ = 2, ref/π = 3/2, A = 0, β = 0.1: the loss is 0.1 · 2 · (3/2 − log 3/2 − 1)."""
    terms = replace(PPO, kl_coefficient=0.1, kl_gradient=gradient)
    found = one_token(math.log(2), 0.0, terms, reference_logprobs=-1.0 + math.log(1.5))
    assert found == pytest.approx((0.2 * (0.5 - math.log(1.5)), 0.1 * slope), rel=1e-12)


def test_worked_value_of_engine_weights():
    """π_old/π_engine = 1.5 multiplies the token's loss; a cap of 1.2 cuts it."""
    engine = {"engine_logprobs": -1.0 - math.log(1.5)}
    assert one_token(0.0, 3.0, replace(PPO, importance_cap=2.0), **engine) == pytest.approx((-4.5, -4.5), rel=1e-12)
    assert one_token(0.0, 3.0, replace(PPO, importance_cap=1.2), **engine) == pytest.approx((-3.6, -3.6), rel=1e-12)


@pytest.mark.parametrize("high", [0.2, 0.28, math.inf])
@pytest.mark.parametrize("cap", [None, 1.1, 5.0])
@pytest.mark.parametrize(("beta", "gradient"), [(0.0, KlGradient.K3), (0.3, KlGradient.K3), (0.3, KlGradient.RATIO_K3)])
def test_equals_the_loops_and_so_does_the_gradient(high, cap, beta, gradient):
    logprobs, rows = some_rows()
    terms = PolicyTerms(clip_low=0.2, clip_high=high, importance_cap=cap, kl_coefficient=beta, kl_gradient=gradient)
    losses = policy_losses(logprobs, rows, terms)
    found = reference.token_losses(
        logprobs, rows.old_logprobs, rows.advantages, MASK, reference=rows.reference_logprobs, engine=rows.engine_logprobs,
        low=0.2, high=high, beta=beta, through_ratio=gradient is KlGradient.RATIO_K3, cap=cap,
    )  # fmt: skip
    expected = torch.stack([sum(row) / len(row) if row else logprobs.new_zeros(()) for row in found])
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=1e-14)
    weights = torch.randn(4, dtype=torch.float64)
    grads = [torch.autograd.grad((weights * each).sum(), logprobs)[0] for each in (losses, expected)]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-12, atol=1e-14)


def test_on_policy_the_gradient_is_that_of_reinforce():
    """∇ of −(1/T) Σ_t A log π, through the logits."""
    logits, token_ids = torch.randn(4, 5, 6, dtype=torch.float64, requires_grad=True), torch.randint(0, 6, (4, 5))
    logprobs = response_tokens(at_places(logits, predicting_places(MASK)), token_ids, MASK, temperature=1.0).logprobs
    _, rows = some_rows()
    (found,) = torch.autograd.grad(policy_losses(logprobs, replace(rows, old_logprobs=logprobs), PPO).sum(), logits)
    reinforce = 0.0
    for i in range(4):
        tokens = reference.logprobs_and_entropies(logits, token_ids, MASK, 1.0)[i]
        for _, logprob, _ in tokens:
            reinforce = reinforce - float(rows.advantages[i]) * logprob / len(tokens)
    torch.testing.assert_close(found, torch.autograd.grad(reinforce, logits)[0], rtol=1e-10, atol=1e-14)


def test_no_gradient_reaches_what_is_held_constant():
    logprobs, rows = some_rows()
    names = ("old_logprobs", "advantages", "engine_logprobs", "reference_logprobs")
    leaves = {name: getattr(rows, name).clone().requires_grad_() for name in names if name != "advantages"}
    terms = replace(PPO, importance_cap=2.0, kl_coefficient=0.1)
    policy_losses(logprobs, replace(rows, **leaves), terms).sum().backward()
    assert all(leaf.grad is None for leaf in leaves.values())


def test_what_the_mask_leaves_out_may_be_anything():
    logprobs, rows = some_rows()
    terms = replace(PPO, importance_cap=2.0, kl_coefficient=0.1, kl_gradient=KlGradient.RATIO_K3)
    expected = policy_losses(logprobs, rows, terms)
    outside = ~MASK
    outside[:, 0] = True
    junk = {
        name: torch.where(outside, math.nan, getattr(rows, name))
        for name in ("old_logprobs", "engine_logprobs", "reference_logprobs")
    }
    leaf = torch.where(outside, math.nan, logprobs.detach()).requires_grad_()
    losses = policy_losses(leaf, replace(rows, **junk), terms)
    assert torch.equal(losses.detach(), expected.detach())
    losses.sum().backward()
    assert not leaf.grad[outside].any()
    assert bool(leaf.grad.isfinite().all())


def test_a_row_without_response_tokens_is_zero():
    logprobs, rows = some_rows()
    losses = policy_losses(logprobs, rows, replace(PPO, importance_cap=2.0, kl_coefficient=0.1))
    assert losses[2] == 0
    losses[2].backward()
    assert not logprobs.grad.any()


def test_rows_do_not_know_each_other():
    logprobs, rows = some_rows()
    terms = replace(PPO, importance_cap=2.0, kl_coefficient=0.1)
    whole = policy_losses(logprobs, rows, terms)
    for i in range(4):
        names = ("old_logprobs", "advantages", "response_mask", "engine_logprobs", "reference_logprobs")
        alone = PolicyRows(**{name: getattr(rows, name)[i : i + 1] for name in names})
        assert torch.equal(policy_losses(logprobs[i : i + 1], alone, terms), whole[i : i + 1])


def test_engine_weights_are_capped_and_one_outside():
    _, rows = some_rows(spread=2.0)
    weights = engine_weights(rows, 1.5)
    assert bool((weights[~MASK] == 1).all())
    ratio = (rows.old_logprobs - rows.engine_logprobs).exp()
    counts = MASK.clone()
    counts[:, 0] = False
    torch.testing.assert_close(weights[counts], ratio[counts].clamp(max=1.5), rtol=1e-12, atol=0)
    assert float(weights.max()) == 1.5


def test_engine_weights_that_are_not_cut_make_the_gradient_unbiased():
    """E_engine[(π_old/π_engine) ∇ loss] = E_old[∇ loss], over all four tokens that could have been drawn."""
    policy, engine = torch.randn(4, dtype=torch.float64, requires_grad=True), torch.randn(4, dtype=torch.float64).softmax(0)
    old = policy.detach().log_softmax(0)
    reward, mask = torch.randn(4, dtype=torch.float64), torch.tensor([[False, True]]).expand(4, 2)

    def losses(terms):
        columns = [torch.stack([torch.zeros_like(c), c], dim=1) for c in (policy.log_softmax(0), old, engine.log())]
        rows = PolicyRows(old_logprobs=columns[1], advantages=reward, response_mask=mask, engine_logprobs=columns[2])
        return policy_losses(columns[0], rows, terms)

    (drawn,) = torch.autograd.grad((engine * losses(replace(PPO, importance_cap=1e6))).sum(), policy)
    (wanted,) = torch.autograd.grad((old.exp() * losses(PPO)).sum(), policy)
    torch.testing.assert_close(drawn, wanted, rtol=1e-10, atol=1e-12)


def test_float32_rows_give_float32_losses():
    logprobs, rows = some_rows()
    advantages = rows.advantages  # float64, as from rewards in Python floats
    rows = PolicyRows(old_logprobs=rows.old_logprobs.float(), advantages=advantages, response_mask=MASK)
    assert policy_losses(logprobs.float(), rows, PPO).dtype == torch.float32


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"kl_coefficient": 0.1}, r"kl_coefficient=0.1 needs .* \(reference_logprobs\)"),
        ({"importance_cap": 2.0}, r"importance_cap=2.0 needs .* \(engine_logprobs\)"),
    ],
)
def test_terms_without_their_logprobs_are_refused(terms, message):
    logprobs, rows = some_rows()
    bare = replace(rows, engine_logprobs=None, reference_logprobs=None)
    with pytest.raises(ValueError, match=message):
        policy_losses(logprobs, bare, replace(PPO, **terms))
