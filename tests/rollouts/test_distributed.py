"""Two processes of one trainer: an engine each, and a group that outlives them."""

import os
import subprocess
import sys

import pytest
import torch

from drpt.models.merged import save_for_engine
from drpt.models.tiny import byte_tokenizer, tiny_model
from tests.rollouts.distributed import SHARES
from tests.rollouts.helpers import disturbed, largest_difference

pytestmark = [pytest.mark.vllm, pytest.mark.long]  # two engines are built


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    pytest.importorskip("vllm", reason="vLLM is not installed", exc_type=ImportError)
    folder = tmp_path_factory.mktemp("processes")
    save_for_engine(tiny_model(), byte_tokenizer(), folder / "tiny")
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.rollouts.distributed", str(rank), str(folder)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    texts = [process.communicate(timeout=240)[0] for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(texts)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


def test_each_process_asks_its_own_prompts_and_all_are_gathered(results):
    assert results[0]["gathered"] == results[1]["gathered"]
    for prompts, (before, after) in zip(SHARES, results[0]["gathered"], strict=True):
        assert [len(group) for group in before] == [2] * len(prompts)
        assert largest_difference(tiny_model(), prompts, before) < 1e-5
        assert largest_difference(disturbed(tiny_model()), prompts, after) < 1e-5


def test_the_group_outlives_the_engines(results):
    for found in results:
        assert found["again"]
        assert found["processes"] == 2.0
