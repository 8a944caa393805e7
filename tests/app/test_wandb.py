"""A job is one W&B run with one row a step, whatever happened to it, read back from what W&B has written."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from drpt.app.tracking import WandbMirror
from tests.app import processes
from tests.app.conftest import TINY
from tests.app.test_preemption import SignalAt

WORDS = (*(word for word in TINY if word != "logger=off"), "trainer.max_steps=8", "trainer.checkpoint_every_steps=3")
WORDS = (*WORDS, "regularizer=full", "sweep=tracked")


def rows_of(place):
    """The job's only run as W&B would send it: id, rows of its history, and its summary."""
    (file,) = place.glob("runs/tracked/*/wandb/offline-run-*/*.wandb")
    binary = str(Path(sys.executable).with_name("wandb"))
    done = subprocess.run([binary, "leet", "inspect", "--json", str(file)], capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return file.stem.removeprefix("run-"), records


@pytest.mark.parametrize(
    "first",
    [
        SignalAt("torch.optim:AdamW.step", 2, signal.SIGKILL),  # before the first checkpoint
        SignalAt("drpt.modules.evaluation:HeldOutEvaluation.measure", 2, signal.SIGTERM),  # in the middle of a row
    ],
)
def test_a_job_that_goes_on_is_one_offline_run(first, tmp_path):
    status, text = processes.run(tmp_path, "train", *WORDS, prepare=first)
    assert status == 128 + first.number, text
    (id_file,) = tmp_path.glob("runs/tracked/*/wandb_id.txt")
    run_id = id_file.read_text()
    status, text = processes.run(tmp_path, "resume", "runs/tracked")
    assert status == 0, text
    found, records = rows_of(tmp_path)
    print(records[:3], found)
    assert id_file.read_text() == run_id == found
