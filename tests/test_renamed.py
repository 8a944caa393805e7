"""Options that were renamed: old names are refused with the new ones, and results of earlier versions stay readable."""

import json
import shutil
from pathlib import Path

import pytest

import drpt as package
from drpt import renamed
from drpt.app.key_reference import read_keys
from drpt.run_identity import job_name, point_of
from tests.app.conftest import drpt  # noqa: F401  # a fixture

SAVED = Path(__file__).parent / "app/earlier_versions/format_1"


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """Folders of results that format 1 left, in a folder of this test's own."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(SAVED, "runs"))


def test_every_new_name_exists_and_no_old_one_does():
    names = {key.name for key in read_keys()}
    assert set(renamed.KEYS.values()) <= names
    assert names.isdisjoint(renamed.KEYS)


@pytest.mark.parametrize(("old", "new"), renamed.KEYS.items())
def test_an_old_name_is_refused_with_the_new_one(drpt, old, new):  # noqa: F811
    task = {"algorithm": ["task=rlhf"], "rollout": ["task=rlvr"]}.get(old.partition(".")[0], [])
    status, text = drpt("train", *task, f"{old}=1")
    assert status == 2
    assert f"{old} is called {new} now" in text


def test_an_old_value_is_refused_with_the_new_one(drpt):  # noqa: F811
    status, text = drpt("train", "regularizer.parameters=paper")
    assert status == 2
    assert "regularizer.parameters=paper is called linear_weights now: write regularizer.parameters=linear_weights." in text


def test_an_old_key_is_refused_in_python_too():
    with pytest.raises(ValueError, match=r"regularizer\.scope is called regularizer\.parameters now \(paper is linear_weights"):
        package.regularizer("mix", scope="paper")


def test_names_go_forth_and_back():
    old = {"seed": 1, "regularizer": {"set": "hull", "scope": "paper", "pool": "step"}, "algorithm": None}
    new = renamed.read_through(old)
    assert new["regularizer"] == {"set": "hull", "parameters": "linear_weights", "choice_scope": "step"}
    assert renamed.read_back(new) == old
    assert renamed.read_through(new) == new


@pytest.mark.parametrize(
    ("word", "now"),
    [
        ("regularizer.scope=paper,all", "regularizer.parameters=linear_weights,all"),
        ("regularizer.scope=choice('paper',all)", "regularizer.parameters=choice('linear_weights',all)"),
        ("++trainer.retain_mib=64", "++trainer.activation_budget_mib=64"),
        ("regularizer=mix", "regularizer=mix"),
        ("-m", "-m"),
    ],
)
def test_recorded_words_are_spelled_anew(word, now):
    assert renamed.new_word(word) == now


def test_saved_runs_keep_their_names(saved):
    """A job that an earlier version finished is found again, and not done twice."""
    import yaml

    for path in saved.glob("*/*/config.yaml"):
        config = renamed.read_through(yaml.safe_load(path.read_text()))
        assert job_name(config) == path.parent.name
        assert len(point_of(config)) == 10


def test_saved_runs_are_tabulated_reported_and_resumed(saved, drpt):  # noqa: F811
    status, text = drpt("table", "runs/sft")
    assert status == 0, text
    assert "layerwise_subset" in text
    assert "2 " in text
    for sweep in ("sft", "rlhf"):
        status, text = drpt("report", f"runs/{sweep}")
        assert status == 0, text
        assert Path(f"runs/{sweep}/report.html").exists()
    status, text = drpt("resume", "runs/sft")
    assert status == 0, text
    assert "all 2 jobs finished" in text


@pytest.mark.long
def test_a_saved_run_is_probed(saved, drpt):  # noqa: F811
    (run,) = saved.glob("sft/*seed0*")
    status, text = drpt("probe", f"run={run}", "checkpoint=last", "--pool", "8", "--draws", "4", "--rows", "2x2")
    assert status == 0, text


def test_new_runs_carry_the_format():
    from drpt.app.environment import describe_environment

    assert json.loads(json.dumps(describe_environment([])))["format"] == renamed.FORMAT
