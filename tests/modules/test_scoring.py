"""Log-probabilities of responses: a batch gives what each row gives alone."""

import pytest
import torch

from drpt.modules.experience import Experience
from drpt.modules.scoring import in_batches, score_batch, score_responses
from tests import zoo

LENGTHS = [(3, 2), (1, 4), (2, 1), (5, 3), (1, 1)]  # of prompts and responses


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return zoo.llama(tied=True).double().lm


def experience():
    generator = torch.Generator().manual_seed(1)
    rows = [(torch.randint(1, zoo.TOKENS, (p + r,), generator=generator).tolist(), p) for p, r in LENGTHS]
    return Experience(prompts=[ids[:p] for ids, p in rows], responses=[ids[p:] for ids, p in rows])


def alone(model, prompt, response, temperature):
    """By the definition: one row, no padding, no mask."""
    ids = torch.tensor([prompt + response])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0] / temperature
    probabilities = logits.exp() / logits.exp().sum(dim=-1, keepdim=True)
    return [float(probabilities[len(prompt) + i - 1, token].log()) for i, token in enumerate(response)]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("batch_rows", [1, 2, 5, 8])
def test_rows_are_scored_as_if_each_were_alone(model, batch_rows, temperature):
    given = experience()
    found = score_responses(
        model, given, temperature=temperature, pad_token_id=0, batch_rows=batch_rows, device=torch.device("cpu")
    )
    for row, values in enumerate(found.logprobs):
        expected = alone(model, given.prompts[row], given.responses[row], temperature)
        assert values == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_scores_carry_no_gradient_and_those_of_a_batch_do(model):
    tokens = experience().tokens([0, 1], pad_token_id=0)
    scored = score_batch(model, tokens, 1.0).tokens
    assert scored.logprobs.requires_grad
    assert not scored.entropies.requires_grad
    assert (scored.logprobs[~tokens.loss_mask] == 0).all()
    assert (scored.entropies[~tokens.loss_mask] == 0).all()


def test_entropies_are_those_of_the_distribution_drawn_from(model):
    given = experience()
    tokens = given.tokens([1], pad_token_id=0)
    with torch.no_grad():
        distribution = torch.distributions.Categorical(logits=model(input_ids=tokens.token_ids).logits[0] / 0.7)
    entropies = score_batch(model, tokens, 0.7).tokens.entropies[0]
    start = len(given.prompts[1])
    torch.testing.assert_close(entropies[start:], distribution.entropy()[start - 1 : -1], rtol=1e-9, atol=1e-12)


def test_nothing_to_score_gives_nothing(model):
    options = {"temperature": 1.0, "pad_token_id": 0, "batch_rows": 4, "device": torch.device("cpu")}
    assert score_responses(model, Experience(), **options).logprobs == []


def test_the_longest_rows_come_first_and_each_once():
    lengths = [p + r for p, r in LENGTHS]
    found = list(in_batches(experience(), 2))
    assert [sorted(lengths[row] for row in rows) for rows in found] == [[5, 8], [3, 5], [2]]
    assert sorted(row for rows in found for row in rows) == list(range(5))
    assert all(list(rows) == sorted(rows) for rows in found)
