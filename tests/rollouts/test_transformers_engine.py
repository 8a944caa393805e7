import math

import pytest
import torch

from drpt.models.merged import merged_weights
from drpt.models.tiny import tiny_model
from drpt.rollouts.errors import RolloutError
from drpt.rollouts.transformers_engine import TransformersRollout
from tests.rollouts.helpers import PROMPTS, disturbed, largest_difference, sampling


@pytest.fixture(scope="module")
def settings(tiny_folder):
    return {"model_folder": tiny_folder, "dtype": "float32", "max_model_len": 512, "device": torch.device("cpu")}


@pytest.fixture
def engine(settings):
    return TransformersRollout(**settings)


def test_log_probs_are_those_of_the_trainer_under_the_temperature(engine):
    groups = engine.generate(PROMPTS, sampling())
    assert largest_difference(tiny_model(), PROMPTS, groups) < 1e-5


def test_sync_takes_over_every_weight(engine):
    model = disturbed(tiny_model())
    engine.sync(merged_weights(model))
    assert largest_difference(model, PROMPTS, engine.generate(PROMPTS, sampling())) < 1e-5


def test_another_models_weights_are_refused(engine):
    weights = dict(merged_weights(tiny_model()))
    with pytest.raises(RolloutError, match=r"rollout=transformers: .* lm_head\.weight .* for which the engine has no place"):
        engine.sync([*weights.items(), ("lm_head.weight", torch.ones(3))])
    del weights["model.norm.weight"]
    with pytest.raises(RolloutError, match=r"has no model\.norm\.weight"):
        engine.sync(weights.items())
    with pytest.raises(RolloutError, match=r"for which the engine has it already"):
        engine.sync([*merged_weights(tiny_model()), ("model.norm.weight", torch.ones(64))])


def test_the_same_seed_draws_the_same_in_batches_of_any_size(settings, engine):
    groups = engine.generate(PROMPTS, sampling())
    torch.manual_seed(5)
    assert engine.generate(PROMPTS, sampling()) == groups
    alone = TransformersRollout(**settings, batch_rows=1).generate(PROMPTS, sampling())
    assert [[r.token_ids for r in group] for group in alone] == [[r.token_ids for r in group] for group in groups]
    assert engine.generate(PROMPTS, sampling(seed=12)) != groups
    assert len({response.token_ids for group in groups for response in group}) == 6


def test_random_state_is_left_as_it_was(engine):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    engine.generate(PROMPTS, sampling())
    assert torch.equal(torch.rand(3), expected)


def test_tokens_are_drawn_with_their_probabilities(engine):
    model, prompt = disturbed(tiny_model(), size=0.3), [5, 6, 7]
    engine.sync(merged_weights(model))
    groups = engine.generate([prompt], sampling(num_responses=2000, max_tokens=1))
    with torch.no_grad():
        shares = (model(input_ids=torch.tensor([prompt])).logits[0, -1] / 0.8).softmax(dim=-1)
    counts = torch.zeros_like(shares)
    for response in groups[0]:
        counts[response.token_ids[0]] += 1
    for token in shares.topk(5).indices.tolist():
        share = float(shares[token])
        assert abs(float(counts[token]) / 2000 - share) < 4 * math.sqrt(share * (1 - share) / 2000)


def test_greedy_takes_the_most_likely_token(engine):
    groups = engine.generate(PROMPTS, sampling(temperature=0.0))
    model = tiny_model()
    for prompt, (first, second) in zip(PROMPTS, groups, strict=True):
        assert first.token_ids == second.token_ids
        ids = list(prompt)
        with torch.no_grad():
            for token in first.token_ids:
                assert token == int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
                ids.append(token)


def test_stop_tokens_end_responses_and_are_part_of_them(engine):
    free = engine.generate(PROMPTS, sampling(stop_token_ids=()))
    stop = free[0][0].token_ids[10]
    for group, others in zip(engine.generate(PROMPTS, sampling(stop_token_ids=(stop,))), free, strict=True):
        for response, other in zip(group, others, strict=True):
            length = other.token_ids.index(stop) + 1 if stop in other.token_ids else 24
            assert response.token_ids == other.token_ids[:length]
            assert response.logprobs == pytest.approx(other.logprobs[:length], abs=1e-6)
            assert response.is_finished == (stop in other.token_ids)


def test_truncated_distributions_are_renormalised(engine):
    prompt = [5, 6, 7]
    with torch.no_grad():
        shares = (tiny_model()(input_ids=torch.tensor([prompt])).logits[0, -1] / 0.8).softmax(dim=-1)
    ordered = shares.sort(descending=True).values
    for changes, count in (({"top_k": 3}, 3), ({"top_p": float(ordered[:3].sum()) + 1e-6}, 4), ({"top_p": 1e-4}, 1)):
        kept = shares.topk(count).indices.tolist()
        groups = engine.generate([prompt], sampling(num_responses=40, max_tokens=1, **changes))
        for response in groups[0]:
            assert response.token_ids[0] in kept
            expected = math.log(float(shares[response.token_ids[0]] / shares[kept].sum()))
            assert response.logprobs[0] == pytest.approx(expected, abs=1e-5)


def test_prompts_that_do_not_fit_are_named(engine):
    with pytest.raises(RolloutError, match="rollout=transformers: prompt 1 has 489 tokens"):
        engine.generate([[1], [1] * 489], sampling())
    with pytest.raises(RolloutError, match="prompt 0 has 0 tokens"):
        engine.generate([[]], sampling())
    assert engine.generate([], sampling()) == []


def test_bfloat16_is_near(settings):
    engine, model = TransformersRollout(**(settings | {"dtype": "bfloat16"})), disturbed(tiny_model())
    engine.sync(merged_weights(model))
    assert engine.dtype == "bfloat16"
    assert 1e-5 < largest_difference(model, PROMPTS, engine.generate(PROMPTS, sampling())) < 0.3


def test_a_closed_engine_says_so(engine):
    engine.close()
    engine.close()
    with pytest.raises(RolloutError, match="is closed"):
        engine.generate([[1]], sampling())
    with pytest.raises(RolloutError, match="is closed"):
        engine.sync([])


def test_a_folder_without_a_model_is_named(settings, tmp_path):
    with pytest.raises(RolloutError, match="cannot be loaded"):
        TransformersRollout(**(settings | {"model_folder": tmp_path}))
