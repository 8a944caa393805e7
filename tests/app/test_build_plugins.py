"""Mistakes in a source, reward or judge are found when the configuration is checked."""

import pytest

from drpt.app.build_plugins import build_plugins
from drpt.app.compose import compose_run
from drpt.app.config import check_config
from drpt.data.reasoning import RUNS_ANSWERS


def build(*words):
    return build_plugins(check_config(compose_run(["task=rlvr", "sweep=test", *words])))


def test_judges_are_built_too():
    build("reward=inoffensive")
    with pytest.raises(ValueError, match=r"^reward\.judges\.sentiment\.words is not known\. It takes none"):
        build("reward=inoffensive", "+reward.judges.sentiment.words=3")
    with pytest.raises(ValueError, match=r"^reward\.judges\.language\.measure='chance' is not known"):
        build("reward=positive", "reward.judges.language.measure=chance")


def test_no_judge_runs_answers_as_code():
    judge = "{_target_: drpt.rewards.reasoning.ReasoningReward, partial: true, extract: whole}"
    words = ["data=reasoning", f"data.source.general=[{min(RUNS_ANSWERS)}]", f"+reward.judges.own={judge}"]
    with pytest.raises(ValueError, match=r"^data\.source\.general: .* runs answers as Python code"):
        build("reward=exact", *words)
