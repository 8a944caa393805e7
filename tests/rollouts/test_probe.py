import math

import pytest
import torch

from drpt.models.merged import merged_weights
from drpt.models.tiny import tiny_model
from drpt.rollouts.errors import RolloutError
from drpt.rollouts.probe import BOUNDS, Mismatch, StaleWeightsError, check_probe, measure_mismatch
from drpt.rollouts.spec import DTYPES
from tests.rollouts.helpers import PROMPTS, engine_logprobs, sampling, trainer_logprobs


def test_differences_by_hand():
    found = measure_mismatch([[-1.0, -2.0], [-3.0]], [[-1.0, -1.5], [-4.0]])
    assert found.mean == pytest.approx(0.5)
    assert found.max == pytest.approx(1.0)
    assert found.ratio == pytest.approx((1 + math.exp(0.5) + math.exp(-1.0)) / 3)
    assert found.num_tokens == 3
    assert found.metrics() == {"mismatch/mean": found.mean, "mismatch/max": found.max, "importance_ratio/mean": found.ratio}


def test_tensors_are_taken_as_well():
    assert measure_mismatch([torch.tensor([-1.0])], [torch.tensor([-1.25])]).mean == pytest.approx(0.25)


@pytest.mark.parametrize("broken", [math.nan, -math.inf])
def test_what_is_no_number_is_no_match(broken):
    found = measure_mismatch([[-1.0, broken]], [[-1.0, -1.0]])
    assert found.mean == math.inf
    with pytest.raises(StaleWeightsError):
        check_probe(found, dtype="bfloat16", bound=1e9)


def test_other_tokens_are_refused():
    with pytest.raises(ValueError, match=r"the same tokens, at least one: responses of \[1\] and of \[2\] tokens"):
        measure_mismatch([[-1.0]], [[-1.0, -1.0]])
    with pytest.raises(ValueError, match="at least one"):
        measure_mismatch([], [])


def test_every_dtype_has_a_bound():
    assert set(BOUNDS) == set(DTYPES)


@pytest.mark.parametrize("dtype", BOUNDS)
def test_means_above_the_bound_stop_the_run_with_numbers_and_remedies(dtype):
    at = Mismatch(mean=BOUNDS[dtype], max=1.0, ratio=1.0, num_tokens=5)
    check_probe(at, dtype=dtype, bound=None)
    above = Mismatch(mean=BOUNDS[dtype] * 1.01, max=1.5, ratio=0.9, num_tokens=5)
    check_probe(above, dtype=dtype, bound=1.0)
    numbers = rf"nats on average, 1\.5 at most \(importance ratio 0\.9, 5 tokens\); rollout\.dtype={dtype} allows"
    with pytest.raises(StaleWeightsError, match=numbers) as caught:
        check_probe(above, dtype=dtype, bound=None)
    assert isinstance(caught.value, RolloutError)
    for words in ("another run synced", "rollout=transformers", "rollout.probe_bound", "trainer.precision"):
        assert words in str(caught.value)
    with pytest.raises(StaleWeightsError, match=r"rollout\.probe_bound allows 1e-05"):
        check_probe(above, dtype=dtype, bound=1e-5)


@pytest.mark.vllm
def test_weights_that_are_one_step_old_or_corrupted_are_noticed(vllm):
    model = tiny_model()
    groups = vllm.generate(PROMPTS, sampling())

    def probe():
        own = trainer_logprobs(model, PROMPTS, groups, temperature=0.8)
        check_probe(measure_mismatch(engine_logprobs(groups), own), dtype="float32", bound=None)

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
    check_probe(found, dtype=dtype, bound=BOUNDS[dtype] / 2)
    if dtype == "float32":
        own = trainer_logprobs(loaded.model, prompts, stale, temperature=1.0)
        with pytest.raises(StaleWeightsError):
            check_probe(measure_mismatch(engine_logprobs(stale), own), dtype=dtype, bound=None)
