import math

import torch

from drpt.objectives.language_modeling import sample_losses, token_losses


def test_worked_value():
    """Two tokens predicted: p = 1/2 from equal logits, then e/(e + 1)."""
    logits = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]]], dtype=torch.float64)
    token_ids = torch.tensor([[1, 1, 0]])
    mask = torch.tensor([[False, True, True]])
    first, second = math.log(2), math.log(1 + math.exp(-1))
    expected = torch.tensor([[0.0, first, second]], dtype=torch.float64)
    torch.testing.assert_close(token_losses(logits, token_ids, mask), expected, rtol=1e-12, atol=0)
    assert math.isclose(float(sample_losses(logits, token_ids, mask)), (first + second) / 2, rel_tol=1e-12)


def test_only_counted_tokens_matter():
    torch.manual_seed(0)
    logits, token_ids = torch.randn(2, 5, 7, dtype=torch.float64), torch.randint(0, 7, (2, 5))
    mask = torch.tensor([[False, False, True, True, False], [False, True, False, False, False]])
    changed = logits.clone()
    changed[0, 0], changed[0, 3:], changed[1, 1:] = 9.0, -3.0, float("inf")
    torch.testing.assert_close(sample_losses(changed, token_ids, mask), sample_losses(logits, token_ids, mask))


def test_row_without_counted_tokens_is_zero_and_has_no_gradient():
    logits = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, False, False], [False, True, True]])  # the first token is predicted by nothing
    losses = sample_losses(logits, torch.randint(0, 4, (2, 3)), mask)
    assert losses[0] == 0
    losses.sum().backward()
    assert not logits.grad[0].any()
    assert logits.grad[1].any()


def test_bfloat16_logits_are_counted_in_float32():
    logits = torch.randn(1, 3, 4, dtype=torch.bfloat16)
    assert sample_losses(logits, torch.tensor([[1, 2, 3]]), torch.ones(1, 3, dtype=torch.bool)).dtype == torch.float32
