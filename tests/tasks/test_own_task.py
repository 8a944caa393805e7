"""A task from outside the package is trained, checked, tabulated and explained like one of ours."""

import json
from pathlib import Path

import pytest

from drpt.metrics import read_metrics
from drpt.tasks.find import common_task_metrics, find_task
from drpt.tasks.spec import TASKS
from tests.app.conftest import TINY
from tests.app.test_rlvr import TINY as RLVR
from tests.tasks.short_answers import METRIC

OWN = "task.name=tests.tasks.short_answers.ShortAnswers"


def test_a_run_is_trained_and_shown_by_the_task_s_own_metric(drpt):
    status, text = drpt("train", *TINY, OWN, "sweep=own", "trainer.max_steps=2", "evaluation.every_steps=2")
    assert status == 0, text
    assert "held-out length " in text
    (summary,) = Path("runs/own").glob("*/summary.json")
    assert METRIC in json.loads(summary.read_text())["final"]
    status, text = drpt("table", "runs/own")
    assert status == 0, text
    assert "chars" in text or "answer characters" in text
    header = Path("runs/own/table.csv").read_text().splitlines()[0].split(",")
    assert "answer_characters_mean" in header
    assert "mean length of the held-out answers" in Path("runs/own/report.html").read_text()


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("ranked_rewards.RankedRewards", "train/rank/max"),
        ("plain_policy_gradient.PlainPolicyGradient", "train/surprise/mean"),
    ],
)
def test_advantages_or_a_loss_of_one_s_own_take_the_place_of_the_configuration_s(drpt, name, metric):
    own = (f"task.name=tests.tasks.{name}", "rollout=transformers", "trainer.max_steps=1")
    status, text = drpt("train", *RLVR, *own, "evaluation.every_steps=1", "sweep=own")
    assert status == 0, text
    (path,) = Path("runs/own").glob("*/metrics.jsonl")
    assert metric in {line["name"] for line in read_metrics(path)}


def test_its_rules_are_checked_before_anything_is_loaded(drpt):
    status, text = drpt("train", *TINY, OWN, "evaluation.num_generate=0")
    assert status == 2
    assert "evaluation.num_generate=0: the length of answers is measured; give at least 1." in text


def test_its_steps_are_counted_as_supervised_ones(drpt):
    status, text = drpt("explain", "layerwise_hull", "model=tiny", OWN)
    assert status == 0, text
    assert "no plan" not in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sfx", r"task\.name='sfx'.*known are sft, rlvr, rlhf, reward, or the dotted path of a class of yours"),
        (
            "no.such.module.Task",
            r"task\.name=no\.such\.module\.Task: cannot be imported \(No module named 'no'; add the folder",
        ),
        ("tests.tasks.short_answers.Nobody", r"cannot be imported \(module .* has no attribute 'Nobody'\)"),
        ("tests.tasks.short_answers.NoTask", r"is no task: derive the class from drpt\.tasks\.task\.Task"),
        ("tests.tasks.short_answers.Unmeasured", r"has no metrics: give the class an attribute metrics, a TaskMetrics"),
        ("tests.tasks.short_answers.Unfinished", r"lacks assemble of drpt\.tasks\.task\.Task"),
    ],
)
def test_what_is_no_task_is_refused(name, said):
    with pytest.raises(ValueError, match=said):
        find_task(name)


@pytest.mark.parametrize("word", ["task.name=sfx", "task.name=no.such.Task"])
def test_a_name_that_leads_nowhere_ends_a_command_at_once(drpt, word):
    status, text = drpt("train", *TINY, word)
    assert status == 2
    assert word.partition("=")[2] in text


@pytest.mark.parametrize("name", TASKS)
def test_every_task_of_ours_declares_what_counts(name):
    metrics = find_task(name).metrics
    assert metrics.task == name
    assert metrics.final.metric == metrics.primary.metric


def test_figures_of_several_tasks_have_nothing_in_common():
    assert common_task_metrics([]).task == common_task_metrics(["sft", "sft"]).task == "sft"
    with pytest.raises(ValueError, match="runs of the tasks sft, rlvr have no figures in common"):
        common_task_metrics(["sft", "rlvr"])
