import pytest
import torch

from drpt.models.merged import merged_weights, save_for_engine
from drpt.models.tiny import byte_tokenizer, tiny_model
from tests.app.conftest import drpt  # noqa: F401  # the command line in a folder of its own

CONTEXT = 512


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines") / "tiny"
    save_for_engine(tiny_model(), byte_tokenizer(), folder)
    return folder


@pytest.fixture(scope="session")
def vllm_settings(tiny_folder):
    pytest.importorskip("vllm", reason="vLLM is not installed", exc_type=ImportError)
    return {
        "model_folder": tiny_folder,
        "dtype": "float32",
        "max_model_len": CONTEXT,
        "kv_cache_mib": 64,
        "threads": 1,
        "device": torch.device("cpu"),
    }


@pytest.fixture(scope="package")  # tests elsewhere build engines of their own, and a process has room for one
def shared_vllm(vllm_settings):
    """One engine for all tests that leave it alive: `vllm` hands it out."""
    from drpt.rollouts.vllm_engine import VllmRollout

    holder = SharedEngine(VllmRollout, vllm_settings)
    yield holder
    holder.close()


@pytest.fixture
def vllm(shared_vllm):
    """An engine with the weights of `tiny_model`."""
    engine = shared_vllm.get()
    engine.sync(merged_weights(tiny_model()))
    return engine


class SharedEngine:
    """Built when first asked for, and again after it was closed."""

    def __init__(self, build, settings):
        self._build, self._settings, self._engine = build, settings, None

    def get(self):
        if self._engine is None:
            self._engine = self._build(**self._settings)
        return self._engine

    def close(self):
        if self._engine is not None:
            self._engine.close()
            self._engine = None
