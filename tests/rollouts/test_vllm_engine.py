"""The real engine on the CPU: what it draws, takes over and refuses."""

import dataclasses
import weakref

import pytest
import torch
from peft import LoraConfig, get_peft_model

from drpt.models.merged import merged_weights, save_for_engine
from drpt.models.tiny import byte_tokenizer, tiny_model
from drpt.rollouts.errors import RolloutError
from drpt.rollouts.spec import CPU_BLOCK_TOKENS
from drpt.rollouts.transformers_engine import TransformersRollout
from tests.rollouts.helpers import LONG, PROMPTS, disturbed, largest_difference, sampling

pytestmark = pytest.mark.vllm


def test_log_probs_are_those_of_the_trainer_under_the_temperature(vllm):
    groups = vllm.generate(PROMPTS, sampling())
    assert [len(group) for group in groups] == [2, 2, 2]
    assert largest_difference(tiny_model(), PROMPTS, groups) < 1e-5


def test_responses_to_one_prompt_can_share_the_blocks_of_its_cache(vllm):
    assert vllm._llm.llm_engine.vllm_config.cache_config.block_size == CPU_BLOCK_TOKENS < len(LONG) // 2


def test_sync_is_exact_with_a_tied_head_and_cached_prompts(vllm):
    vllm.generate(PROMPTS, sampling())  # fills the prefix cache under the old weights
    model = disturbed(tiny_model())
    old = largest_difference(model, PROMPTS, vllm.generate(PROMPTS, sampling()))
    vllm.sync(merged_weights(model))
    assert largest_difference(model, PROMPTS, vllm.generate(PROMPTS, sampling())) < 1e-5
    assert old > 0.1  # so that the test could fail


def test_merged_adapters_are_taken_over(vllm):
    model = get_peft_model(tiny_model(), LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False))
    vllm.sync(merged_weights(model))
    groups = vllm.generate(PROMPTS, sampling())
    assert largest_difference(model.eval(), PROMPTS, groups) < 1e-5
    with model.disable_adapter():
        assert largest_difference(model, PROMPTS, groups) > 1e-3


def test_weights_of_another_dtype_are_converted(vllm):
    model = disturbed(tiny_model())
    rounded = {name: values.bfloat16() for name, values in merged_weights(model)}
    vllm.sync(rounded.items())
    model.load_state_dict(rounded, strict=False)  # the head is tied
    assert largest_difference(model, PROMPTS, vllm.generate(PROMPTS, sampling())) < 1e-5


def test_greedy_responses_are_those_of_transformers(vllm, vllm_settings):
    settings = {key: vllm_settings[key] for key in ("model_folder", "dtype", "max_model_len", "device")}
    reference, model = TransformersRollout(**settings), disturbed(tiny_model())
    for engine in (vllm, reference):
        engine.sync(merged_weights(model))
    greedy = sampling(temperature=0.0)
    own, other = vllm.generate(PROMPTS, greedy), reference.generate(PROMPTS, greedy)
    assert [[r.token_ids for r in group] for group in own] == [[r.token_ids for r in group] for group in other]
    assert own[0][0] == own[0][1]
    assert largest_difference(model, PROMPTS, own, temperature=0.0) < 1e-5


def test_the_same_seed_draws_the_same_whatever_else_is_asked(vllm):
    groups = vllm.generate(PROMPTS, sampling())
    assert vllm.generate(PROMPTS, sampling()) == groups
    others = [PROMPTS[0], LONG[:7], PROMPTS[2], [9, 9]]
    among_others = vllm.generate(others, sampling())
    assert among_others[0] == groups[0]
    assert among_others[2] == groups[2]
    # The seeds count on from prompt to prompt, so that no two responses have one in common.
    alone = vllm.generate([PROMPTS[1]], sampling(seed=11 + 2))
    assert alone[0] == groups[1]


def test_other_seeds_and_places_draw_otherwise(vllm):
    same = [[5, 6, 7]] * 3
    groups = vllm.generate(same, sampling())
    assert len({response.token_ids for group in groups for response in group}) == 6
    assert vllm.generate(same, sampling(seed=12)) != groups


def test_stop_tokens_end_responses_and_are_part_of_them(vllm):
    free = vllm.generate([[5, 6, 7]], sampling(stop_token_ids=()))[0][0]
    assert not free.is_finished
    stop = free.token_ids[10]
    response = vllm.generate([[5, 6, 7]], sampling(stop_token_ids=(stop,)))[0][0]
    first = free.token_ids.index(stop)
    assert response.token_ids == free.token_ids[: first + 1]
    assert response.logprobs == free.logprobs[: first + 1]
    assert response.is_finished


def test_the_tokenizers_end_token_alone_ends_nothing(vllm):
    model = tiny_model()
    with torch.no_grad():  # every token's logit is zero: the end token comes once in 259 draws
        model.model.norm.weight.zero_()
    vllm.sync(merged_weights(model))
    end = byte_tokenizer().eos_token_id
    responses = vllm.generate([[1]] * 8, sampling(num_responses=8, max_tokens=48, stop_token_ids=()))
    drawn = [response.token_ids for group in responses for response in group]
    assert {len(tokens) for tokens in drawn} == {48}
    assert any(end in tokens for tokens in drawn)
    stopped = vllm.generate([[1]] * 8, sampling(num_responses=8, max_tokens=48, stop_token_ids=(end,)))
    for tokens, response in zip(drawn, (r for group in stopped for r in group), strict=True):
        assert response.is_finished == (end in tokens)
        assert response.token_ids == (tokens[: tokens.index(end) + 1] if end in tokens else tokens)


@pytest.mark.parametrize(("top_p", "top_k", "most"), [(1.0, 3, 3), (0.01, 0, 3)])
def test_truncated_distributions_draw_from_the_likely_tokens(vllm, top_p, top_k, most):
    groups = vllm.generate([[5, 6, 7]], sampling(num_responses=32, max_tokens=1, top_p=top_p, top_k=top_k))
    assert len({response.token_ids for response in groups[0]}) <= most


def test_no_prompts_are_no_responses(vllm):
    assert vllm.generate([], sampling()) == []


def test_responses_are_plain_values(vllm):
    response = vllm.generate([[5]], sampling(num_responses=1))[0][0]
    values = dataclasses.astuple(response)
    assert [type(value) for value in values] == [tuple, tuple, bool]
    assert {type(token) for token in response.token_ids} == {int}
    assert {type(logprob) for logprob in response.logprobs} == {float}


def test_prompts_that_do_not_fit_are_named(vllm):
    with pytest.raises(RolloutError, match=r"prompt 1 has 489 tokens; .* at most 488, .* 24 .* 512 \(data\.max_length\)"):
        vllm.generate([[1], [1] * 489], sampling())
    with pytest.raises(RolloutError, match="prompt 0 has 0 tokens"):
        vllm.generate([[]], sampling())
    with pytest.raises(RolloutError, match=r"prompt 0 contains token 300, .* another tokenizer"):
        vllm.generate([[1, 300]], sampling())
    assert len(vllm.generate([[1] * 488], sampling())) == 1


def test_another_models_weights_are_refused_and_the_engine_is_of_no_use_then(shared_vllm, vllm):
    weights = dict(merged_weights(tiny_model()))
    del weights["model.norm.weight"]
    with pytest.raises(RolloutError, match=r"the policy's, which has no model\.norm\.weight"):
        vllm.sync(weights.items())
    with pytest.raises(RolloutError, match=r"has failed before .*close it and build a new one"):
        vllm.generate([[1]], sampling())
    shared_vllm.close()
    engine = shared_vllm.get()
    with pytest.raises(RolloutError, match=r"model\.norm\.weight of shape \(3,\), for which the engine has the shape \(64,\)"):
        engine.sync((weights | {"model.norm.weight": torch.ones(3)}).items())
    shared_vllm.close()
    assert shared_vllm.get().generate([[1]], sampling())


def test_a_second_engine_waits_for_the_first_to_close(shared_vllm, vllm, vllm_settings):
    with pytest.raises(RolloutError, match="already has an engine; close it"):
        type(vllm)(**vllm_settings)
    shared_vllm.close()
    vllm.close()
    with pytest.raises(RolloutError, match="the engine is closed"):
        vllm.generate([[1]], sampling())


def test_a_closed_engine_holds_no_layers(shared_vllm, vllm):
    vllm.generate(PROMPTS, sampling())
    vllm.sync(merged_weights(tiny_model()))
    layers = vllm._llm.apply_model(lambda model: [weakref.ref(layer) for layer in model.modules()])[0]
    assert all(layer() is not None for layer in layers)
    del vllm
    shared_vllm.close()
    assert [layer() for layer in layers if layer() is not None] == []


def test_engines_that_cannot_be_are_explained_and_leave_nothing(shared_vllm, vllm_settings, tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    from drpt.rollouts.vllm_engine import VllmRollout

    shared_vllm.close()
    sizes = tiny_model().config.to_dict() | {"max_position_embeddings": 8192}
    save_for_engine(LlamaForCausalLM(LlamaConfig(**sizes)), byte_tokenizer(), tmp_path / "model")
    small_cache = {"model_folder": tmp_path / "model", "max_model_len": 8192, "kv_cache_mib": 1}
    for changes, match in (
        ({"max_model_len": 4096}, r"data\.max_length=4096"),
        (small_cache, r"rollout\.kv_cache_mib=1: .*larger than the available KV cache memory"),
        ({"device": torch.device("cuda")}, r"computes on cpu, the trainer on cuda"),
    ):
        with pytest.raises(RolloutError, match=match):
            VllmRollout(**(vllm_settings | changes))
        assert not torch.distributed.is_initialized()
    assert shared_vllm.get().generate([[1]], sampling())


def test_a_death_of_the_engine_is_said(shared_vllm, vllm, monkeypatch):
    def die(*_, **__):
        raise RuntimeError("no more")

    monkeypatch.setattr(vllm._llm.llm_engine.engine_core.engine_core.model_executor, "execute_model", die)
    with pytest.raises(RolloutError, match=r"failed while generating: .*no more"):
        vllm.generate([[1]], sampling())
    with pytest.raises(RolloutError, match="has failed before"):
        vllm.sync(merged_weights(tiny_model()))
    monkeypatch.undo()
    shared_vllm.close()
    assert shared_vllm.get().generate([[1]], sampling())


def test_a_small_cache_changes_nothing_but_the_time(shared_vllm, vllm, vllm_settings):
    from drpt.rollouts.vllm_engine import VllmRollout

    prompts = [LONG[place : place + 200] for place in range(12)]  # with their responses more than the 2048 tokens of 1 MiB
    expected = vllm.generate(prompts, sampling(max_tokens=64))
    shared_vllm.close()
    engine = VllmRollout(**(vllm_settings | {"kv_cache_mib": 1}))
    try:
        found = engine.generate(prompts, sampling(max_tokens=64))
    finally:
        engine.close()
    assert [[r.token_ids for r in group] for group in found] == [[r.token_ids for r in group] for group in expected]


def test_bfloat16_is_near(shared_vllm, vllm_settings):
    from drpt.rollouts.vllm_engine import VllmRollout

    shared_vllm.close()
    engine = VllmRollout(**(vllm_settings | {"dtype": "bfloat16"}))
    try:
        engine.generate([[100]], sampling(num_responses=1))  # ended the process once, on processors with AMX
        model = disturbed(tiny_model())
        engine.sync(merged_weights(model))
        groups = engine.generate(PROMPTS, sampling())
        assert engine.dtype == "bfloat16"
        assert 1e-5 < largest_difference(model, PROMPTS, groups) < 0.3
    finally:
        engine.close()


def test_an_untied_model_is_taken_over(shared_vllm, vllm_settings, tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    from drpt.rollouts.vllm_engine import VllmRollout

    shared_vllm.close()
    model = LlamaForCausalLM(
        LlamaConfig(**(tiny_model().config.to_dict() | {"tie_word_embeddings": False, "attention_bias": True}))
    )
    save_for_engine(model, byte_tokenizer(), tmp_path / "model")
    engine = VllmRollout(**(vllm_settings | {"model_folder": tmp_path / "model"}))
    try:
        disturbed(model)
        engine.sync(merged_weights(model))
        assert largest_difference(model, PROMPTS, engine.generate(PROMPTS, sampling())) < 1e-5
    finally:
        engine.close()
