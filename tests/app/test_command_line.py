"""The command line itself: its version, the help of every command, and what is refused before anything heavy is imported."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import drpt as package
from drpt.app import machine
from drpt.app.prepare import check_command
from drpt.tasks.errors import ConfigError


@pytest.mark.parametrize("words", [["--version"], ["train", "--version"]])
def test_version(drpt, words):
    assert drpt(*words) == (0, f"drpt {package.__version__}\n")


def test_help_of_explain_lists_its_arguments(drpt):
    status, text = drpt("explain", "--help")
    assert status == 0
    assert "drpt explain [PRESET] [group=choice] [key=value]" in text
    for words in ("PRESET", "group=choice, key=value", "regularizer=PRESET", "as for drpt train"):
        assert words in " ".join(text.split())


@pytest.mark.parametrize("command", ["train", "resume", "table", "report", "outcome", "probe", "explain", "doctor"])
def test_every_command_has_a_help(drpt, command):
    status, text = drpt(command, "--help")
    assert status == 0
    assert command in text


def test_help_of_a_key_says_kind_default_meaning_and_choices(drpt):
    status, text = drpt("train", "--help", "regularizer.partition", "sketch")
    assert status == 0
    assert text.startswith("regularizer.partition  text; default: layer\n    ")
    assert "global block kind layer" in text
    assert "sketch.left_width" in text
    status, text = drpt("train", "--help", "regularizer.strenght")
    assert status == 2
    assert "There is no option 'regularizer.strenght'. Did you mean 'regularizer.strength'?" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["probe", "run=nosuch"], "run=nosuch: there is no such folder; give the folder of one run, runs/SWEEP/JOB."),
        (["probe", "run=."], "there is no readable config.yaml; give the folder of one run."),
        (["probe", "checkpoint=last"], "checkpoint=last needs a run: add run=FOLDER."),
        (
            ["train", "trainer.accelerator=gpu"],
            "trainer.accelerator=gpu: this machine has no GPU that torch can use. Take cpu",
        ),
        (["train", "data.source.general=[1]"], "data.source.general='1' is not known. Choices: "),
        (["train", "-m", "seed=range(0)"], '"seed=range(0)" gives no value.'),
        (
            ["train", "-m", "optimizer.lr=interval(0,1)"],
            '"optimizer.lr=interval(0,1)": only sweepers that search take an interval',
        ),
        (
            ["train", "regularizer=iif"],
            "regularizer.choice_scope=phase (as in regularizer=iif) chooses among the responses of a rollout",
        ),
        (["explain", "regularizer=0.5"], "regularizer='0.5' is not known."),
        (["train", "--cfg", "job", "+foo=1"], "There is no 'foo'."),
    ],
)
def test_mistakes_are_told_in_a_line_before_torch_is_imported(tmp_path, words, message):
    code = (
        "import sys\nfrom drpt.app.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as stop:\n    status = stop.code\n"
        "heavy = {'torch', 'transformers', 'lightning', 'wandb'} & set(sys.modules)\nassert not heavy, heavy\nsys.exit(status)"
    )
    if words == ["train", "trainer.accelerator=gpu"] and machine.has_gpu():
        pytest.skip("there is a GPU")
    environment = os.environ | {"PYTHONPATH": str(Path(package.__file__).parent.parent)}
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_gpu_is_asked_of_the_machine_that_runs_the_job(monkeypatch):
    monkeypatch.setattr(machine, "has_gpu", lambda: True)
    assert check_command(["trainer.accelerator=gpu", "model=tiny"])
    monkeypatch.setattr(machine, "has_gpu", lambda: False)
    with pytest.raises(ConfigError, match=r"^trainer\.accelerator=gpu: this machine has no GPU"):
        check_command(["-m", "trainer.accelerator=cpu,gpu", "model=tiny"])


def test_a_signal_counts_whatever_a_library_makes_of_its_exception(drpt, monkeypatch):
    """A library that cleans up badly replaces the exception by one of its own."""

    def compose(*_, **__):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            raise KeyError("in somebody's clean-up")

    monkeypatch.setattr("drpt.app.explain.explain_regularizer", compose)
    assert drpt("explain", "mix") == (143, "\nstopped by SIGTERM\n")
