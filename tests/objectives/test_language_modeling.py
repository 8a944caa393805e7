import math

import torch

from drpt.objectives.language_modeling import packed_sample_losses, sample_losses, token_losses


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


def packed(logits, token_ids, mask, examples):
    return packed_sample_losses(logits, token_ids, mask, examples, num_examples=int(examples.max()) + 1)


def test_packed_worked_value():
    """The second text's first token is predicted by nothing; its second one has p = 1/2, like the first text's."""
    logits = torch.tensor([[[0.0, 0.0], [9.0, 0.0], [3.0, 3.0], [1.0, 0.0], [4.0, 0.0]]], dtype=torch.float64)
    examples = torch.tensor([[0, 0, 1, 1, 1]])
    mask = torch.tensor([[False, True, False, True, True]])
    losses = packed(logits, torch.tensor([[1, 1, 0, 0, 1]]), mask, examples)
    expected = torch.tensor([math.log(2), (math.log(2) + math.log(1 + math.e)) / 2], dtype=torch.float64)
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=0)


def test_packed_with_one_example_a_row_is_the_same():
    torch.manual_seed(0)
    logits, token_ids = torch.randn(3, 6, 5, dtype=torch.float64), torch.randint(0, 5, (3, 6))
    mask = torch.rand(3, 6) < 0.5
    examples = torch.arange(3)[:, None].expand(3, 6)
    torch.testing.assert_close(
        packed(logits, token_ids, mask, examples), sample_losses(logits, token_ids, mask), rtol=1e-12, atol=0
    )


def test_packed_example_without_counted_tokens_is_zero():
    losses = packed(
        torch.randn(1, 4, 3), torch.zeros(1, 4, dtype=torch.long), torch.arange(4)[None] > 2, torch.arange(4)[None] // 2
    )
    assert losses[0] == 0
    assert losses[1] > 0


def test_an_infinite_loss_stays_with_its_own_example():
    logits = torch.randn(1, 6, 4, dtype=torch.float64)
    logits[0, 1] = float("nan")
    logits.requires_grad_()
    examples = torch.tensor([[0, 0, 0, 1, 1, 1]])
    losses = packed(logits, torch.zeros(1, 6, dtype=torch.long), torch.tensor([[0, 1, 1, 0, 1, 1]]).bool(), examples)
    assert losses.isfinite().tolist() == [False, True]
    losses[1].backward()
    assert bool(logits.grad[0, 3:5].isfinite().all())


def test_packed_bfloat16_logits_are_counted_in_float32():
    mask = torch.tensor([[False, True, True]])
    losses = packed(torch.randn(1, 3, 4, dtype=torch.bfloat16), torch.tensor([[1, 2, 3]]), mask, torch.zeros(1, 3).long())
    assert losses.dtype == torch.float32
