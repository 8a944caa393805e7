import pytest
import torch
from safetensors.torch import load_file

from drpt.rollouts import server_weights
from drpt.rollouts.errors import RolloutError
from drpt.rollouts.server_weights import write_weights

SHAPES = {"a": [4, 2], "b": [3], "c": [2]}


def _weights():
    whole = torch.arange(10.0)
    return {"a": torch.randn(2, 4).T, "b": whole[:3], "c": whole[3:5]}  # a strided one, and two that share memory


def _read(folder):
    return {name: value for path in sorted(folder.iterdir()) for name, value in load_file(path).items()}


@pytest.mark.parametrize(("shard_bytes", "num_files"), [(2**20, 1), (1, 3)])
def test_what_is_written_is_what_was_given(tmp_path, monkeypatch, shard_bytes, num_files):
    monkeypatch.setattr(server_weights, "_SHARD_BYTES", shard_bytes)
    weights = _weights()
    write_weights(weights.items(), tmp_path / "deep" / "new", shapes=SHAPES, dtype=torch.float32)
    assert len(list((tmp_path / "deep" / "new").iterdir())) == num_files
    written = _read(tmp_path / "deep" / "new")
    assert written.keys() == weights.keys()
    assert all(torch.equal(written[name], weights[name]) for name in weights)


def test_values_are_rounded_to_the_servers_dtype(tmp_path):
    weights = _weights()
    write_weights(weights.items(), tmp_path / "new", shapes=SHAPES, dtype=torch.bfloat16)
    assert torch.equal(_read(tmp_path / "new")["a"], weights["a"].bfloat16())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": torch.ones(2, 2)}, r"which has a of shape \[2, 2\], where the server has \[4, 2\]"),
        ({"d": torch.ones(2)}, r"which has d of shape \[2\], where the server has none"),
    ],
)
def test_weights_of_another_model_are_refused_and_leave_nothing(tmp_path, change, message):
    with pytest.raises(RolloutError, match=message):
        write_weights((_weights() | change).items(), tmp_path / "new", shapes=SHAPES, dtype=torch.float32)
    assert not list(tmp_path.iterdir())


def test_a_missing_weight_is_an_error(tmp_path):
    weights = _weights()
    del weights["b"]
    with pytest.raises(RolloutError, match="which has no b and 0 others of the server's 3"):
        write_weights(weights.items(), tmp_path / "new", shapes=SHAPES, dtype=torch.float32)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_an_error_with_the_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RolloutError, match=r"rollout\.weights_folder=.*cannot be written"):
        write_weights(_weights().items(), tmp_path / "file" / "new", shapes=SHAPES, dtype=torch.float32)
