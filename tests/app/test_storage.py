"""Full disks, folders that may not be written, and files in the way: one line with the place and the way out, nothing lost."""

import json
import os
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from drpt.app import job
from drpt.modules import checkpoint_files
from drpt.storage import StorageError
from tests.app import processes
from tests.app.conftest import TINY
from tests.app.test_train import losses, only_run

WORDS = (*TINY, "regularizer=full", "sweep=full")


def told(text):
    """The lines of an error, without a traceback."""
    assert "Traceback" not in text, text
    return " ".join(text.split())


def summary_of(place):
    (path,) = Path(place).glob("runs/full/*/summary.json")
    return json.loads(path.read_text())


def test_a_file_where_a_folder_should_be(drpt):
    Path("runs").write_text("")
    status, text = drpt("train", *WORDS)
    assert status == 2
    assert "runs: this is a file, but a folder is needed there. Move it away" in told(text)
    Path("runs").unlink()
    Path("runs").mkdir()
    Path("runs/full").write_text("")
    status, text = drpt("train", "-m", *WORDS)
    assert status == 2
    assert "runs/full: this is a file, but a folder is needed there" in told(text)
    Path("runs/full").unlink()
    status, text = drpt("train", *WORDS, "trainer.max_steps=1")
    assert status == 0, text
    folder = only_run("full")
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
    (folder / "checkpoints").rmdir()
    (folder / "checkpoints").write_text("")
    status, text = drpt("train", *WORDS, "trainer.max_steps=1")
    assert status == 1
    assert "checkpoints: this is a file, but a folder is needed there" in told(text)
    assert summary_of(".")["status"] == "failed"
    (folder / "checkpoints").unlink()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_text("")
    status, text = drpt("train", *WORDS, "trainer.max_steps=1")
    assert status == 2
    assert f"{folder.name}: this is a file, but a folder is needed there" in told(text)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) for name in ("config.yaml", "summary.json")] + ["metrics.jsonl"]
)
def test_a_folder_where_a_file_should_be(drpt, name):
    status, text = drpt("train", *WORDS, "trainer.max_steps=1")
    assert status == 0, text
    folder = only_run("full")
    (folder / "summary.json").unlink()
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    status, text = drpt("train", *WORDS, "trainer.max_steps=1")
    assert status in (1, 2), text
    assert name in told(text)
    assert "this is a folder, but a file is needed there" in told(text) or "lacks the" in told(text)


def test_a_trained_run_whose_cleaning_up_fails_is_finished(drpt, monkeypatch):
    def fail(*_, **__):
        raise StorageError("last.ckpt: the disk or your quota is full")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_files, "drop_optimizer_state", fail)
        status, text = drpt("train", *WORDS, "trainer.max_steps=4")
    assert status == 0, text
    assert "is finished; its checkpoints keep the optimizer's state: last.ckpt: the disk" in told(text)
    folder = only_run("full")
    assert summary_of(".")["status"] == "finished"
    assert (folder / "checkpoints" / "previous.ckpt").exists()
    status, text = drpt("train", *WORDS, "trainer.max_steps=4")
    assert "already finished" in text
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"last.ckpt"}, "what was left over is done"


def test_a_failure_never_replaces_a_finished_runs_summary(drpt, monkeypatch):
    status, text = drpt("train", *WORDS, "trainer.max_steps=1")
    assert status == 0, text
    before = summary_of(".")
    monkeypatch.setattr(job, "check_finished", lambda *_: 1 / 0)
    status, text = drpt("train", *WORDS, "trainer.max_steps=1")
    assert summary_of(".") == before


@dataclass(frozen=True)
class Limit:
    """No file of the process may be larger; where torch writes, the error comes out of its own writer."""

    num_bytes: int

    def __call__(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.num_bytes, resource.RLIM_INFINITY))


@pytest.mark.long
def test_files_that_may_not_be_large_enough(tmp_path, drpt):
    """The limit is met by the second checkpoint's metrics or by a checkpoint; then it is lifted."""
    status, text = processes.run(tmp_path, "train", *WORDS, prepare=Limit(60_000))
    assert status == 1, text
    assert "last.ckpt: exceeds the largest permitted file size (`ulimit -f`). Raise the limit" in told(text)
    summary = summary_of(tmp_path)
    assert summary["status"] == "failed"
    assert "StorageError" in summary["error"]
    assert not list(tmp_path.glob("runs/full/*/checkpoints/.*"))
    assert_goes_on(tmp_path, drpt)


def assert_goes_on(place, drpt):
    """As if nothing had happened."""
    status, text = processes.run(place, "resume", "runs/full")
    assert status == 0, text
    os.chdir(place)
    found = losses(only_run("full"))
    peace = place / "peace"
    peace.mkdir()
    os.chdir(peace)
    status, text = drpt("train", *WORDS)
    assert status == 0, text
    assert losses(only_run("full")) == found


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own of one MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=False).returncode:
        pytest.skip("a small disk can be mounted by root alone")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.long
@pytest.mark.parametrize("when", ["before", "later"])
def test_a_full_disk(small_disk, tmp_path, drpt, when):
    filler = small_disk / "filler"
    if when == "later":  # room for the first checkpoint, and not for a second
        filler.write_bytes(bytes(2**20 - 330_000))
    else:
        filler.write_bytes(bytes(2**20 - 3 * 4096))
    status, text = processes.run(tmp_path, "train", *WORDS, f"runs_folder={small_disk}/runs")
    assert when == "before" or status == 1, text  # with no room for the word that it has failed
    assert "the disk or your quota is full (" in told(text)
    assert "Make room and give the command again" in told(text)
    checkpoints = list(small_disk.glob("runs/full/*/checkpoints/last.ckpt"))
    assert len(checkpoints) == (when == "later")
    filler.unlink()
    status, text = processes.run(tmp_path, "train", *WORDS, f"runs_folder={small_disk}/runs")
    assert ("resumes after step" in text) == (when == "later"), text
    found = losses(only_run_of(small_disk))
    os.chdir(tmp_path)
    status, text = drpt("train", *WORDS)
    assert status == 0, text
    assert losses(only_run("full")) == found


def only_run_of(place):
    (folder,) = (path.parent for path in place.glob("runs/full/*/summary.json"))
    return folder


@pytest.mark.long
def test_a_disk_that_may_not_be_written(small_disk, tmp_path):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    status, text = processes.run(tmp_path, "train", *WORDS, f"runs_folder={small_disk}/runs")
    assert status == 2
    assert "writing is not permitted (read-only file system). Make" in told(text)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    status, text = processes.run(tmp_path, "train", *WORDS, "trainer.max_steps=1", f"runs_folder={small_disk}/runs")
    (folder,) = small_disk.glob("runs/full/*/")
    (folder / "summary.json").unlink()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    status, text = processes.run(tmp_path, "resume", f"{small_disk}/runs/full")
    assert status in (1, 2)
    assert "writing is not permitted" in told(text)
