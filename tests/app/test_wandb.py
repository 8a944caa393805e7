"""A job is one W&B run with one row a step, whatever happened to it, read back from what W&B has written."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from drpt.app.tracking import WandbMirror
from drpt.metrics import read_metrics
from tests.app import processes
from tests.app.conftest import TINY
from tests.app.test_preemption import SignalAt

WORDS = (*(word for word in TINY if word != "logger=off"), "trainer.max_steps=8", "trainer.checkpoint_every_steps=3")
WORDS = (*WORDS, "regularizer=full", "sweep=tracked")
STEP = "trainer/global_step"


def rows_of(place):
    """What `wandb sync` would send of the only run that is there: its id, and the rows of its history."""
    (file,) = place.glob("runs/tracked/*/wandb/offline-run-*/*.wandb")
    binary = str(Path(sys.executable).with_name("wandb"))
    done = subprocess.run([binary, "leet", "inspect", "--json", str(file)], capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return file.stem.removeprefix("run-"), [record["history"]["item"] for record in records if record["type"] == "history"]


def rows_on_disk(place):
    (file,) = place.glob("runs/tracked/*/metrics.jsonl")
    rows = {}
    for line in read_metrics(file):
        rows.setdefault(line["step"], {STEP: line["step"]})[line["name"]] = line["value"]
    return list(rows.values())


@pytest.mark.parametrize(
    "first",
    [
        SignalAt("torch.optim:AdamW.step", 2, signal.SIGKILL),  # before the first checkpoint
        pytest.param(  # in the middle of a row
            SignalAt("drpt.modules.evaluation:HeldOutEvaluation.measure", 2, signal.SIGTERM), marks=pytest.mark.long
        ),
    ],
)
def test_a_job_that_goes_on_is_one_offline_run(first, tmp_path):
    status, text = processes.run(tmp_path, "train", *WORDS, prepare=first)
    assert status == 128 + first.number, text
    (id_file,) = tmp_path.glob("runs/tracked/*/wandb_id.txt")
    run_id = id_file.read_text()
    status, text = processes.run(tmp_path, "resume", "runs/tracked")
    assert status == 0, text
    found, rows = rows_of(tmp_path)
    assert id_file.read_text() == run_id == found
    *steps, tables = rows
    assert [{name: row[name] for name in row if not name.startswith("_")} for row in steps] == rows_on_disk(tmp_path)
    assert any(name.startswith("samples") for name in tables)


class Server:
    """A W&B run as its server keeps it: rows by step, of which later ones alone are taken."""

    id, project = "abcd1234", "drpt"

    def __init__(self, rows=()):
        self.rows = dict(rows)
        self.resumed = bool(self.rows)
        self.starting_step = max(self.rows, default=-1) + 1
        self.summary = {}
        for row in self.rows.values():
            self.summary |= row

    def log(self, row, step):
        assert step >= self.starting_step, f"step {step} is sent twice"
        assert step not in self.rows, f"step {step} is sent twice"
        self.rows[step] = row


def metrics(last, *, evaluated):
    for step in range(last + 1):
        if step:
            yield {"train/loss/mean": 1 / step}, step
        if step % 3 == 0 and step <= evaluated:
            yield {"target/loss/mean": 2.0 + step}, step


def log(mirror, first, last, evaluated=99):
    for figures, step in metrics(last, evaluated=evaluated):
        if step >= first:
            mirror.log_metrics(figures, step=step)


def lines(last, *, evaluated=99):
    return [
        {"name": name, "value": value, "step": step}
        for figures, step in metrics(last, evaluated=evaluated)
        for name, value in figures.items()
    ]


def conclude(mirror):
    mirror.conclude({"final": {"target/loss/mean": 1.0}}, {"samples": [{"prompt": "a"}], "none": []})


def peaceful():
    mirror = WandbMirror(server := Server())
    log(mirror, 0, 9)
    conclude(mirror)
    return {step: set(row) for step, row in server.rows.items()}


@pytest.mark.parametrize("last_sent", range(-1, 10))
@pytest.mark.parametrize(("resumed", "evaluated"), [(None, 0), (3, 0), (3, 3), (5, 5), (9, 6), (9, 9)])
def test_a_server_gets_every_step_once(last_sent, resumed, evaluated):
    """Whatever it had when the first process died, and wherever the job goes on: after a checkpoint or at the beginning."""
    before = WandbMirror(server := Server())
    log(before, 0, last_sent + 1)  # the last of these is kept back: it may not be whole
    assert set(server.rows) == set(range(last_sent + 1))
    after = WandbMirror(server := Server(server.rows))
    if resumed is not None:
        after.replay(lines(resumed, evaluated=evaluated))
        if resumed % 3 == 0 and evaluated < resumed:  # the evaluation that was interrupted
            after.log_metrics({"target/loss/mean": 2.0 + resumed}, step=resumed)
    log(after, 0 if resumed is None else resumed + 1, 9)
    conclude(after)
    assert {step: set(row) for step, row in server.rows.items()} == peaceful()


def test_a_run_of_old_is_gone_on_with():
    """Its rows were less than a step, so that the server counts more of them than steps."""
    server = Server({0: {STEP: 0}, 1: {STEP: 1}, 2: {STEP: 2}, 3: {STEP: 3}, 4: {STEP: 3}})
    mirror = WandbMirror(server)
    mirror.replay(lines(3))
    log(mirror, 4, 6)
    conclude(mirror)
    assert [row[STEP] for row in server.rows.values() if STEP in row] == [0, 1, 2, 3, 3, 4, 5, 6]


def test_what_fails_about_the_mirror_does_not_fail_the_run(caplog):
    mirror = WandbMirror(server := Server())
    server.log = lambda row, step: (_ for _ in ()).throw(OSError("no space"))
    log(mirror, 0, 9)
    conclude(mirror)
    assert [record.message for record in caplog.records] == [
        "W&B: no space; the run continues without it, and metrics.jsonl has everything"
    ]
