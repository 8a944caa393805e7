import pytest
import torch

from drpt.objectives.policy import num_response_tokens
from drpt.rl.choices import KlGradient, Normalisation
from drpt.rl.grpo import PolicyRows, PolicyTerms, policy_losses
from drpt.rl.normalisation import row_weights
from tests.reference import grpo as reference

MASK = torch.tensor(
    [[0, 0, 1, 1, 1], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0], [0, 0, 1, 1, 0]]
).bool()
TERMS = PolicyTerms(clip_low=0.2, clip_high=0.28, importance_cap=None, kl_coefficient=0.0, kl_gradient=KlGradient.K3)


@pytest.mark.parametrize(
    ("kind", "expected", "scale"),
    [
        (Normalisation.SEQUENCE, [1 / 3, 1 / 3, 1 / 3], 1.0),
        (Normalisation.TOKEN, [0.25, 0.75, 0.0], 1.0),
        (Normalisation.CONSTANT, [0.25, 0.75, 0.0], 8 / (3 * 10)),
    ],
)
def test_worked_values(kind, expected, scale):
    """Three responses of 2, 6 and 0 tokens, of 10 allowed."""
    weights = row_weights(torch.tensor([2, 6, 0]), kind, max_tokens=10)
    torch.testing.assert_close(weights.base_weights, torch.tensor(expected), rtol=1e-6, atol=0)  # ω is float32
    assert weights.scale == pytest.approx(scale, rel=1e-12)
    assert float(weights.base_weights.sum()) == pytest.approx(1, rel=1e-6)


def some_step():
    logprobs = (-torch.rand(6, 5, dtype=torch.float64) - 0.1).requires_grad_()
    rows = PolicyRows(
        old_logprobs=logprobs.detach() + 0.3 * torch.randn(6, 5, dtype=torch.float64),
        advantages=torch.randn(6, dtype=torch.float64),
        response_mask=MASK,
    )
    return logprobs, rows


@pytest.mark.parametrize("kind", Normalisation)
@pytest.mark.parametrize("parts", [[6], [1, 5], [2, 2, 2], [1] * 6])
def test_weighted_token_means_are_the_papers_loss_however_the_rows_are_split(kind, parts):
    """Parts are micro-batches or processes: each takes its own rows' share of the step's weights, and sums are added."""
    logprobs, rows = some_step()
    weights = row_weights(num_response_tokens(MASK), kind, max_tokens=7)
    total, start = 0.0, 0
    for size in parts:
        place = slice(start, start + size)
        part = PolicyRows(old_logprobs=rows.old_logprobs[place], advantages=rows.advantages[place], response_mask=MASK[place])
        losses = policy_losses(logprobs[place], part, TERMS)
        total = total + weights.scale * (weights.base_weights[place] * losses).sum()
        start += size
    found = reference.token_losses(logprobs, rows.old_logprobs, rows.advantages, MASK, low=0.2, high=0.28)
    expected = reference.step_loss(found, kind.value, 7)
    torch.testing.assert_close(total, expected, rtol=1e-6, atol=1e-7)  # ω is float32
    grads = [torch.autograd.grad(each, logprobs, retain_graph=True)[0] for each in (total, expected)]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", Normalisation)
def test_responses_of_one_length_weigh_the_same_under_every_kind(kind):
    weights = row_weights(torch.tensor([5, 5, 5, 5]), kind, max_tokens=5)
    assert weights.base_weights.tolist() == [0.25] * 4
    assert weights.scale == 1.0


@pytest.mark.parametrize("kind", Normalisation)
def test_no_token_at_all_is_not_nan(kind):
    weights = row_weights(torch.tensor([0, 0]), kind, max_tokens=5)
    assert weights.base_weights.tolist() == [0.5, 0.5]
    assert weights.scale == (0.0 if kind is Normalisation.CONSTANT else 1.0)


def test_no_row_is_refused():
    with pytest.raises(ValueError, match="no rows has no weights"):
        row_weights(torch.zeros(0, dtype=torch.long), Normalisation.TOKEN, max_tokens=5)
