import pytest
import torch

from drpt.rollouts.build import build_rollout
from drpt.rollouts.errors import RolloutError
from drpt.rollouts.spec import RolloutSpec
from tests.rollouts.helpers import PROMPTS, sampling


def spec(**changes):
    values = {
        "engine": "vllm",
        "dtype": "float32",
        "num_prompts": 8,
        "num_responses": 8,
        "max_tokens": 32,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "parity_every_phases": 1,
        "parity_responses": 4,
        "parity_bound": None,
        "kv_cache_mib": 64,
        "threads": 1,
        "url": None,
        "token_variable": None,
        "weights_folder": None,
    }
    return RolloutSpec(**(values | changes))


@pytest.mark.parametrize("engine", [pytest.param("vllm", marks=pytest.mark.vllm), "transformers"])
def test_engines_of_this_process_answer(request, engine, tiny_folder):
    if engine == "vllm":
        pytest.importorskip("vllm", reason="vLLM is not installed", exc_type=ImportError)
        request.getfixturevalue("shared_vllm").close()
    built = build_rollout(spec(engine=engine), model_folder=tiny_folder, device=torch.device("cpu"), max_model_len=512)
    try:
        assert built.dtype == "float32"
        assert [len(group) for group in built.generate(PROMPTS, sampling())] == [2, 2, 2]
        with pytest.raises(RolloutError, match=rf"rollout={engine}: prompt 0 has 500 tokens"):
            built.generate([[1] * 500], sampling())
    finally:
        built.close()


def test_a_server_that_is_not_there_is_named(tiny_folder):
    server = spec(engine="vllm_server", url="http://127.0.0.1:9")
    with pytest.raises(RolloutError, match=r"http://127\.0\.0\.1:9"):
        build_rollout(server, model_folder=tiny_folder, device=torch.device("cpu"), max_model_len=512)
