import math

import pytest
import torch

from drpt.objectives import policy
from drpt.objectives.counted import at_places, predicting_places
from drpt.objectives.language_modeling import token_losses
from drpt.objectives.policy import masked_mean, masked_sum, num_response_tokens, response_tokens
from tests.reference import grpo as reference


def some_rows(dtype=torch.float64):
    logits, token_ids = torch.randn(3, 6, 5, dtype=dtype), torch.randint(0, 5, (3, 6))
    mask = torch.tensor([[0, 0, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]]).bool()
    return logits, token_ids, mask


def tokens_of(logits, token_ids, mask, **options):
    return response_tokens(at_places(logits, predicting_places(mask)), token_ids, mask, **options)


def test_worked_value():
    """Logits (0, log 9) under temperature 2 are (0, log 3): p = 1/4 and 3/4, entropy log 4 − (3/4) log 3."""
    logits = torch.tensor([[[0.0, math.log(9)], [0.0, 0.0], [7.0, 7.0]]], dtype=torch.float64)
    mask = torch.tensor([[True, True, True]])
    tokens = tokens_of(logits, torch.tensor([[1, 1, 0]]), mask, temperature=2.0)
    logprobs = torch.tensor([[0.0, math.log(3 / 4), math.log(1 / 2)]], dtype=torch.float64)
    entropies = torch.tensor([[0.0, math.log(4) - 0.75 * math.log(3), math.log(2)]], dtype=torch.float64)
    torch.testing.assert_close(tokens.logprobs, logprobs, rtol=1e-12, atol=0)
    torch.testing.assert_close(tokens.entropies, entropies, rtol=1e-12, atol=0)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_equals_the_loops_and_so_does_the_gradient(temperature):
    logits, token_ids, mask = some_rows()
    logits.requires_grad_()
    tokens = tokens_of(logits, token_ids, mask, temperature=temperature)
    logprobs, entropies, total = torch.zeros_like(tokens.logprobs), torch.zeros_like(tokens.logprobs), 0.0
    weights = torch.randn(3, 6, dtype=torch.float64)
    for row, found in enumerate(reference.logprobs_and_entropies(logits, token_ids, mask, temperature)):
        for token, logprob, entropy in found:
            logprobs[row, token], entropies[row, token] = logprob.detach(), entropy
            total = total + weights[row, token] * logprob
    torch.testing.assert_close(tokens.logprobs.detach(), logprobs, rtol=1e-12, atol=0)
    torch.testing.assert_close(tokens.entropies, entropies, rtol=1e-12, atol=0)
    (grad,) = torch.autograd.grad((weights * tokens.logprobs).sum(), logits)
    torch.testing.assert_close(grad, torch.autograd.grad(total, logits)[0], rtol=1e-10, atol=1e-14)


def test_logprobs_are_the_negative_of_token_losses():
    logits, token_ids, mask = some_rows()
    logprobs = tokens_of(logits, token_ids, mask, temperature=1.0).logprobs
    torch.testing.assert_close(logprobs, -token_losses(logits, token_ids, mask), rtol=1e-12, atol=0)


def test_logits_stay_as_they_are():
    logits, token_ids, mask = some_rows()
    before = logits.clone()
    tokens_of(logits, token_ids, mask, temperature=0.5)
    assert torch.equal(logits, before)


def test_only_response_tokens_matter():
    logits, token_ids, mask = some_rows()
    changed = logits.clone()
    changed[0, 0], changed[0, 4:], changed[1, 5], changed[2] = 9.0, float("nan"), float("inf"), float("nan")
    changed.requires_grad_()
    tokens = tokens_of(changed, token_ids, mask, temperature=1.0)
    expected = tokens_of(logits, token_ids, mask, temperature=1.0)
    assert torch.equal(tokens.logprobs.detach(), expected.logprobs)
    assert torch.equal(tokens.entropies, expected.entropies)
    tokens.logprobs.sum().backward()
    assert bool(changed.grad.isfinite().all())
    assert not changed.grad[2].any()


def test_entropies_have_no_gradient_and_impossible_tokens_add_nothing():
    logits = torch.tensor([[[0.0, 0.0, -math.inf], [0.0, 0.0, 0.0]]], dtype=torch.float64, requires_grad=True)
    tokens = tokens_of(logits, torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.bool), temperature=1.0)
    assert math.isclose(float(tokens.entropies[0, 1]), math.log(2), rel_tol=1e-12)
    assert not tokens.entropies.requires_grad


def test_entropies_do_not_depend_on_how_many_are_computed_at_once(monkeypatch):
    logits, token_ids, mask = some_rows()
    whole = tokens_of(logits, token_ids, mask, temperature=1.0)
    monkeypatch.setattr(policy, "_ENTROPY_ROWS", 3)
    assert torch.equal(tokens_of(logits, token_ids, mask, temperature=1.0).entropies, whole.entropies)


def test_no_response_token_at_all():
    logits, token_ids, _ = some_rows()
    logits.requires_grad_()
    tokens = tokens_of(logits, token_ids, torch.zeros(3, 6, dtype=torch.bool), temperature=1.0)
    assert not tokens.logprobs.any()
    assert not tokens.entropies.any()
    tokens.logprobs.sum().backward()
    assert not logits.grad.any()


def test_bfloat16_logits_are_counted_in_float32():
    logits, token_ids, mask = some_rows(torch.bfloat16)
    tokens = tokens_of(logits, token_ids, mask, temperature=0.7)
    assert tokens.logprobs.dtype == tokens.entropies.dtype == torch.float32
    exact = tokens_of(logits.double(), token_ids, mask, temperature=0.7)
    torch.testing.assert_close(tokens.logprobs.double(), exact.logprobs, rtol=1e-5, atol=1e-6)  # float32's own rounding
    torch.testing.assert_close(tokens.entropies.double(), exact.entropies, rtol=1e-5, atol=1e-6)


def test_means_and_sums_leave_out_the_first_position_and_what_the_mask_leaves_out():
    """The second row counts positions 1 and 2: (3 + 5) / 2; the third none, whatever stands there."""
    values = torch.tensor([[9.0, 2.0, math.nan], [9.0, 3.0, 5.0], [math.nan, 1.0, 1.0]])
    mask = torch.tensor([[True, True, False], [False, True, True], [True, False, False]])
    assert num_response_tokens(mask).tolist() == [1, 2, 0]
    assert masked_sum(values, mask).tolist() == [2.0, 8.0, 0.0]
    assert masked_mean(values, mask).tolist() == [2.0, 4.0, 0.0]


def test_entropies_carry_a_gradient_where_it_is_asked_for():
    logits, token_ids, mask = some_rows()
    logits.requires_grad_()
    options = {"temperature": 0.7, "entropy_gradient": True}
    entropies = tokens_of(logits, token_ids, mask, **options).entropies
    plain = tokens_of(logits, token_ids, mask, temperature=0.7).entropies
    assert not plain.requires_grad
    torch.testing.assert_close(entropies.detach(), plain, rtol=1e-12, atol=1e-15)
    assert torch.autograd.gradcheck(
        lambda given: tokens_of(given, token_ids, mask, **options).entropies, logits, raise_exception=True
    )


def test_a_token_that_cannot_come_has_no_share_in_the_entropy():
    logits = torch.tensor([[[0.0, 0.0, -torch.inf], [0.0, 0.0, 0.0]]], requires_grad=True)
    mask = torch.tensor([[True, True]])
    entropies = tokens_of(logits, torch.tensor([[0, 1]]), mask, temperature=1.0, entropy_gradient=True).entropies
    assert entropies[0, 1].item() == pytest.approx(math.log(2), rel=1e-6)
    entropies.sum().backward()
    assert not logits.grad.isnan().any()
