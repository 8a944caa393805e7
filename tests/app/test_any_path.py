"""Folders and files of any name: a sweep is resumed wherever it was moved to, a file is read under the name that was typed."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from drpt.app.launch import resume
from drpt.app.run_config import read_config, read_spec
from tests.app.conftest import TINY

SHORT = (*TINY, "trainer.max_steps=1", "evaluation.every_steps=1", "evaluation.num_generate=0", "data.num_eval=2")
# Folders that a sweep may be moved into or renamed to.
ALL_AT_ONCE = "größe, (1) [x] {y}=' \" # & ; ~ ${seed} \\"
NAMES = [ALL_AT_ONCE, "${seed}", "1e3", "true", "null", "~a", " a ", "-a", "a,b", "%d", "a\nb"]
MORE_NAMES = [
    *(
        "größe",
        "文",
        "a(b)",
        "[a]",
        "{a}",
        "a=b",
        "it's",
        'a"b',
        "a#b",
        "a&b;c",
        "a b",
        "a\\b",
        "\\${seed}",
        "1_000",
        "0x10",
        "nan",
    ),
    *("a:b", "a@b", "*?", "$HOME", "!a", "2026_11_27", "1.10", "a.", "<a>", "a|b", "`a`", "a\tb", "😀"),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep of one finished run."""
    place = tmp_path_factory.mktemp("made")
    before = os.getcwd()
    os.chdir(place)
    try:
        from drpt.app.cli import main

        with pytest.raises(SystemExit) as exit_:
            main(["train", *SHORT, "sweep=first"])
        assert not exit_.value.code
    finally:
        os.chdir(before)
    return place / "runs" / "first"


def jobs(folder):
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/summary.json")}


@pytest.mark.parametrize("name", [*NAMES, *(pytest.param(name, marks=pytest.mark.long) for name in MORE_NAMES)])
def test_a_sweep_is_found_again_under_every_name(finished, tmp_path, monkeypatch, caplog, name):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / name / name  # moved and renamed
    shutil.copytree(finished, folder)
    before = jobs(folder)
    with caplog.at_level("INFO"):
        resume(folder)
    assert jobs(folder) == before
    assert [path.name for path in tmp_path.rglob("summary.json")] == ["summary.json"]


@pytest.mark.filterwarnings("ignore:Glyph")  # of a chart's title: not every font has every letter
@pytest.mark.parametrize("name", [ALL_AT_ONCE, "1e3", pytest.param("~", marks=pytest.mark.long)])
def test_an_interrupted_run_goes_on_under_every_name(finished, drpt, tmp_path, name):
    folder = tmp_path / name / name
    shutil.copytree(finished, folder)
    (path,) = folder.glob("*/summary.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "running"}))
    shutil.rmtree(path.parent / "checkpoints")
    status, text = drpt("resume", str(folder))
    assert status == 0, text
    assert json.loads(path.read_text())["status"] == "finished"
    assert (path.parent / "train.log").exists()
    saved = yaml.safe_load((path.parent / "config.yaml").read_text())
    assert (saved["sweep"], saved["runs_folder"]) == (name, str(folder.parent))
    spec = read_spec(path.parent)
    assert (spec.sweep, spec.runs_folder) == (name, str(folder.parent))


def test_what_is_saved_refers_to_nothing(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(next(finished.glob("*/")), folder)
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    saved["logger"]["project"], saved["data"]["source"]["system"] = "${seed}", "say ${data.name} \\${x}"
    (folder / "config.yaml").write_text(yaml.safe_dump(saved))
    config = read_config(folder)
    assert config.logger.project == "${seed}"
    assert config.data.source.system == "say ${data.name} \\${x}"
    assert read_spec(folder).logger.project == "${seed}"


@pytest.mark.parametrize(
    ("word", "folder"),
    [
        ("sweep=2026_11_27", "2026_11_27"),
        ("sweep=1.10", "1.10"),
        ("sweep=1e3", "1e3"),
        ("sweep=true", "true"),
        ("sweep=größe & (so)", "größe & (so)"),
        ("sweep=\\${seed}", "${seed}"),
        ("sweep=s-${seed}", "s-0"),
    ],
)
def test_results_are_in_the_folder_that_was_typed(drpt, word, folder):
    status, text = drpt("train", *SHORT, "data.num_eval=none", word)
    assert status == 2
    assert "data.num_eval=none must be a whole number" in text
    status, text = drpt("train", "--cfg", "job", "--resolve", word)
    assert status == 0, text
    assert yaml.safe_load(text)["sweep"] == folder


FILES = [
    "p.jsonl",
    "a=b.jsonl",
    "it's.jsonl",
    'q".jsonl',
    "größe.jsonl",
    "a b#c.jsonl",
    "[a].jsonl",
    "1e3",
    "true",
    "a(1).jsonl",
]


@pytest.mark.parametrize("name", FILES)
def test_files_are_read_under_the_name_that_was_typed(drpt, tmp_path, name, monkeypatch):
    from drpt.app.compose import compose_run
    from drpt.app.config import check_config
    from drpt.data.build_source import build_source

    (tmp_path / name).write_text('{"prompt": "a", "response": "b"}\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    for typed in (name, f"~/{name}"):
        words = ["data=jsonl", f"data.source.general={typed}", f"data.source.target={typed}", "sweep=x"]
        spec = check_config(compose_run(words))
        assert spec.data.source["target"] == typed
        assert len(list(build_source(spec.data.source).general(0))) == 1


def test_a_comma_in_a_name_is_asked_about(drpt):
    status, text = drpt("train", "data=jsonl", "data.source.general=a,b.jsonl", "data.source.target=c.jsonl")
    assert status == 2
    assert "for one text, \"data.source.general='a,b.jsonl'\"" in text


def test_home_is_found_in_every_path(finished, drpt, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(finished, tmp_path / "runs" / "first")
    for words in (["table", "--runs=~/runs"], ["table", "~/runs/first"], ["resume", "--runs=~/runs"]):
        status, text = drpt(*words)
        assert status == 0, text
    status, text = drpt("train", *SHORT, "runs_folder=~/elsewhere", "sweep=x")
    assert status == 0, text
    assert list((tmp_path / "elsewhere" / "x").glob("*/summary.json"))
    assert not Path("~").exists()
