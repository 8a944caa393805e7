"""A reward model's folder as a term of a reward."""

import subprocess
import sys

import pytest
import torch

from drpt.data.example import Example, Message
from drpt.models.reward_folder import RewardFolderError
from drpt.models.reward_model import save_reward_model
from drpt.rewards.build import build_reward
from drpt.rewards.preference import PreferenceReward
from drpt.rewards.reward import Answer
from drpt.rewards.spec import RewardSpec


@pytest.fixture
def folder(tmp_path):
    """The cosine of prompt and response, less 0.3."""
    head = torch.nn.Linear(768, 1, bias=False)
    with torch.no_grad():
        head.weight.zero_()
        head.weight[0, 384:] = 384**-0.5
    save_reward_model(head, tmp_path / "reward_model", max_length=64, center=0.3)
    return tmp_path / "reward_model"


def answer(text):
    messages = (Message(role="user", content="What is the capital of France?"), Message(role="assistant", content="Paris."))
    return Answer(example=Example(messages=messages, source=""), text=text, is_finished=True, num_tokens=3)


def test_it_says_what_the_head_says(folder):
    term = PreferenceReward(path=str(folder))
    right, wrong = term([answer("It is Paris."), answer("Two goals to one.")])
    assert right.value > 0 > wrong.value > -1.3
    assert (right.outcome, wrong.outcome) == ("preferred", "dispreferred")
    assert right.is_correct is None
    assert term([]) == []
    assert term([answer("Two goals to one.")])[0].value == pytest.approx(wrong.value, abs=1e-5)


def test_a_missing_folder_is_named_with_its_option():
    node = {"_target_": "drpt.rewards.preference.PreferenceReward", "weight": 1.0, "path": "nowhere"}
    with pytest.raises(ValueError, match=r"reward\.terms\.preference.*nowhere: there is no config\.json\. Give the folder"):
        build_reward(RewardSpec(name="learned", terms={"preference": node}, judges={}))
    with pytest.raises(RewardFolderError):
        PreferenceReward(path="nowhere")


def test_building_it_loads_no_torch(folder):
    code = (
        "import sys; from drpt.rewards.preference import PreferenceReward; "
        f"PreferenceReward(path={str(folder)!r}); assert not {{'torch', 'transformers'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
