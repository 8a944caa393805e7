"""vLLM computes what the trainer computes, and stale or corrupted weights are noticed."""

import pytest
import torch

from drpt.models.merged import merged_weights
from drpt.models.tiny import tiny_model
from drpt.rl.parity import BOUNDS, StaleWeightsError, check_parity, measure_mismatch
from tests.rollouts.helpers import PROMPTS, engine_logprobs, sampling, trainer_logprobs


@pytest.mark.vllm
def test_weights_that_are_one_step_old_or_corrupted_are_noticed(vllm):
    model = tiny_model()
    groups = vllm.generate(PROMPTS, sampling())

    def probe():
        own = trainer_logprobs(model, PROMPTS, groups, temperature=0.8)
        check_parity(measure_mismatch(engine_logprobs(groups), own), dtype="float32", bound=None)

    probe()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    ids = torch.tensor([PROMPTS[2]])
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    with pytest.raises(StaleWeightsError):
        probe()
    vllm.sync(merged_weights(model))
    groups = vllm.generate(PROMPTS, sampling())
    probe()
    name = "model.layers.1.mlp.down_proj.weight"
    vllm.sync((key, values * 1.01 if key == name else values) for key, values in merged_weights(model))
    groups = vllm.generate(PROMPTS, sampling())
    with pytest.raises(StaleWeightsError):
        probe()


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.long), "bfloat16"])
def test_bounds_hold_for_the_embedded_model(shared_vllm, vllm_settings, tmp_path, dtype):
    from drpt.models.load import load_model
    from drpt.models.merged import save_for_engine
    from drpt.models.spec import ModelSpec
    from drpt.rollouts.vllm_engine import VllmRollout

    shared_vllm.close()
    loaded = load_model(
        ModelSpec(source="embedded", name=None, revision=None, chat_template="own", gradient_checkpointing=False)
    )
    save_for_engine(loaded.model, loaded.tokenizer, tmp_path / "model")
    texts = ["What is 3 + 4?", "Write a short story about a fox.", "List three colours.", "Who wrote Hamlet?"]
    prompts = [
        loaded.tokenizer.encode(
            loaded.tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
            ),
            add_special_tokens=False,
        )
        for text in texts
    ]
    drawing = sampling(num_responses=2, temperature=1.0, max_tokens=32, stop_token_ids=(loaded.tokenizer.eos_token_id,))
    changes = {"model_folder": tmp_path / "model", "dtype": dtype, "kv_cache_mib": 256}
    engine = VllmRollout(**(vllm_settings | changes))
    try:
        with torch.no_grad():
            for parameter in loaded.model.parameters():
                parameter.mul_(1.001)
        stale = engine.generate(prompts, drawing)
        engine.sync(merged_weights(loaded.model))
        groups = engine.generate(prompts, drawing)
    finally:
        engine.close()
    own = trainer_logprobs(loaded.model, prompts, groups, temperature=1.0)
    found = measure_mismatch(engine_logprobs(groups), own)
    check_parity(found, dtype=dtype, bound=BOUNDS[dtype] / 2)
    if dtype == "float32":
        own = trainer_logprobs(loaded.model, prompts, stale, temperature=1.0)
        with pytest.raises(StaleWeightsError):
            check_parity(measure_mismatch(engine_logprobs(stale), own), dtype=dtype, bound=None)
