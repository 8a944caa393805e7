"""Log-probabilities of responses: a batch gives what each row gives alone."""

import pytest
import torch

from drpt.rl.batches import token_batch
from drpt.rl.scoring import Scorer, score_batch
from drpt.rl.trajectory import Trajectory
from tests import zoo

LENGTHS = [(3, 2), (1, 4), (2, 1), (5, 3), (1, 1)]  # of prompts and responses


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return zoo.llama(tied=True).double().lm


def trajectories():
    generator = torch.Generator().manual_seed(1)
    rows = [(torch.randint(1, zoo.TOKENS, (p + r,), generator=generator).tolist(), p) for p, r in LENGTHS]
    return [Trajectory(prompt=ids[:p], response=ids[p:]) for ids, p in rows]


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
    given = trajectories()
    found = Scorer(temperature=temperature, pad_token_id=0, batch_rows=batch_rows).score(given, model)
    for one, values in zip(given, found.logprobs, strict=True):
        assert values == pytest.approx(alone(model, one.prompt, one.response, temperature), rel=1e-9, abs=1e-12)


def test_scores_carry_no_gradient_and_those_of_a_batch_do(model):
    tokens = token_batch(trajectories()[:2], pad_token_id=0)
    scored = score_batch(model, tokens, 1.0).tokens
    assert scored.logprobs.requires_grad
    assert not scored.entropies.requires_grad
    assert (scored.logprobs[~tokens.loss_mask] == 0).all()
    assert (scored.entropies[~tokens.loss_mask] == 0).all()


def test_entropies_are_those_of_the_distribution_drawn_from(model):
    one = trajectories()[1]
    tokens = token_batch([one], pad_token_id=0)
    with torch.no_grad():
        distribution = torch.distributions.Categorical(logits=model(input_ids=tokens.token_ids).logits[0] / 0.7)
    entropies = score_batch(model, tokens, 0.7).tokens.entropies[0]
    start = len(one.prompt)
    torch.testing.assert_close(entropies[start:], distribution.entropy()[start - 1 : -1], rtol=1e-9, atol=1e-12)


def test_nothing_to_score_gives_nothing(model):
    assert Scorer(temperature=1.0, pad_token_id=0, batch_rows=4).score([], model).logprobs == []


@pytest.mark.parametrize("recomputes", [True, False])
def test_trajectories_have_the_log_probabilities_that_were_asked_for(model, recomputes):
    given = trajectories()
    for one in given:
        one.engine_logprobs = [-1.0] * one.num_tokens
    Scorer(temperature=1.0, pad_token_id=0, batch_rows=2, recomputes_logprobs=recomputes).fill_in(given, model)
    for one in given:
        expected = alone(model, one.prompt, one.response, 1.0) if recomputes else one.engine_logprobs
        assert one.old_logprobs == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert one.values == one.reference_logprobs == []
