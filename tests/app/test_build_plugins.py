"""Prompts without responses are refused where they are needed, and mistakes in plugins found, before anything is loaded."""

import json

import pytest

from drpt.app.build_plugins import build_plugins
from drpt.app.compose import compose_run
from drpt.app.config import check_config
from drpt.app.probe_subject import prepare
from drpt.data.build_source import build_source
from drpt.data.reasoning_rules import RUNS_ANSWERS


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"Say {i}"}) + "\n" for i in range(4)))
    return ["data=jsonl_prompts", f"data.source.general={path}", f"data.source.target={path}", "sweep=x"]


def build(words):
    return build_plugins(check_config(compose_run(words)))


def test_supervised_runs_need_responses(words):
    message = (
        r"^data=jsonl_prompts: its examples are prompts without reference responses, but task=sft imitates responses\. "
        r"Use data with responses \(.*data\.source\.needs_response=true\)"
    )
    with pytest.raises(ValueError, match=message):
        build(words)
    with pytest.raises(ValueError, match=r"prompts without .* the probe's gradients are of losses on responses"):
        prepare(check_config(compose_run(words)), pool=2, run=None, checkpoint="last")


@pytest.mark.parametrize("reward", ["math", "math_boxed", "exact", "reasoning"])
def test_rewards_that_compare_need_responses(words, reward):
    with pytest.raises(ValueError, match=rf"reward={reward} compares answers with them \(reward\.terms\.correct\)"):
        build([*words, "task=rlvr", f"reward={reward}"])


def test_rewards_that_do_not_compare_take_prompts_alone(words):
    reward = ["reward=math_boxed", "~reward.terms.correct"]
    assert not build([*words, "task=rlvr", *reward]).has_responses


class Unfinished:
    """Says how long its stream is, and not whether it has responses."""

    is_endless = False

    def general(self, seed):
        yield

    target = evaluation = is_correct = general


def test_a_source_says_what_it_has():
    with pytest.raises(ValueError, match=r"Unfinished: lacks the attribute has_responses of drpt\.data\.source\.Source"):
        build_source({"_target_": f"{__name__}.Unfinished"})


def build_policy(*words):
    return build_plugins(check_config(compose_run(["task=rlvr", "sweep=test", *words])))


def test_judges_are_built_too():
    build_policy("reward=inoffensive")
    with pytest.raises(ValueError, match=r"^reward\.judges\.sentiment\.words is not known\. It takes none"):
        build_policy("reward=inoffensive", "+reward.judges.sentiment.words=3")
    with pytest.raises(ValueError, match=r"^reward\.judges\.language\.measure='chance' is not known"):
        build_policy("reward=positive", "reward.judges.language.measure=chance")


def test_no_judge_runs_answers_as_code():
    judge = "{_target_: drpt.rewards.reasoning.ReasoningReward, partial: true, extract: whole}"
    words = ["data=reasoning", f"data.source.general=[{min(RUNS_ANSWERS)}]", f"+reward.judges.own={judge}"]
    with pytest.raises(ValueError, match=r"^data\.source\.general: .* runs answers as Python code"):
        build_policy("reward=exact", *words)
