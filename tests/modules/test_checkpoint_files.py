"""Which checkpoint a run goes on from: the newest that is whole and that the run's other files fit."""

import os
from contextlib import suppress

import pytest
import torch

from drpt.journal import Journal
from drpt.modules.checkpoint_files import (
    BEST,
    LAST,
    PREVIOUS,
    CheckpointError,
    drop_optimizer_state,
    find_resume_point,
    peek_step,
    save_durably,
    set_damaged_aside,
    step_file,
)
from drpt.storage import StorageError

STEPS = {PREVIOUS: 4, LAST: 6}


def checkpoint(step, journal, *, best_step=None):
    return {
        "global_step": step,
        "state_dict": {"model.weight": torch.arange(100.0) + step},
        "loops": {},
        "callbacks": {"Checkpoints": {"best_step": best_step}},
        "optimizer_states": [{"state": {0: torch.zeros(100)}}],
        "lr_schedulers": [{}],
        "run": {"journals": {"metrics.jsonl": journal.state()}, "data": {"fingerprint": "abc"}},
    }


@pytest.fixture
def run(tmp_path):
    """A run's folder with two checkpoints and ten lines of metrics, of which the last two came later."""
    journal = Journal(tmp_path / "metrics.jsonl")
    for step in range(1, 11):
        journal.append([{"step": step}])
        for name, own in STEPS.items():
            if step == own:
                save_durably(checkpoint(step, journal), tmp_path / "checkpoints" / name)
    journal.close()
    return tmp_path


def find(run, *, num_steps=10):
    return find_resume_point(run, run / "checkpoints", num_steps=num_steps)


def test_the_last_one_is_taken(run):
    found = find(run)
    assert (found.step, found.path.name, found.passed_over) == (6, LAST, ())
    assert found.journals["metrics.jsonl"]["lines"] == 6
    assert found.data == {"fingerprint": "abc"}
    assert peek_step(run / "checkpoints") == 6


def test_without_any_a_run_begins_at_the_beginning(run):
    for name in STEPS:
        (run / "checkpoints" / name).unlink()
    assert (find(run).step, find(run).path) == (0, None)
    (run / "checkpoints").rmdir()
    assert find(run).path is None
    assert peek_step(run / "checkpoints") == 0


def flip(path):
    """One bit of a tensor."""
    content = bytearray(path.read_bytes())
    place = content.index(torch.tensor([8.0, 9.0]).numpy().tobytes())
    content[place] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-300]), "is no checkpoint, or was cut off"),
    "foreign": (lambda path: path.write_text("hello"), "is no checkpoint, or was cut off"),
    "one bit": (flip, "is damaged (the checksum of"),
    "other contents": (lambda path: torch.save([1, 2], path), "is no checkpoint of drpt"),
    "a module's weights": (lambda path: torch.save({"weight": torch.zeros(2)}, path), "is no checkpoint of drpt"),
    "a longer run's": (lambda path: torch.save(torch.load(path) | {"global_step": 99}, path), "is another run's"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    "a link to nowhere": (lambda path: (path.unlink(), path.symlink_to("nowhere")), "is missing"),
    "weights alone": (
        lambda path: torch.save({k: v for k, v in torch.load(path).items() if k != "optimizer_states"}, path),
        "holds no optimizer_states: it is a finished run's",
    ),
}


@pytest.mark.parametrize(("harm", "said"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_one_is_named_and_the_one_before_it_taken(run, harm, said):
    folder = run / "checkpoints"
    harm(folder / LAST)
    found = find(run)
    assert (found.step, found.path.name) == (4, PREVIOUS)
    assert said in found.passed_over[0]
    assert str(folder / LAST) in found.passed_over[0]
    assert set_damaged_aside(folder, found) == folder / LAST
    assert find(run).step == 4
    assert os.path.lexists(folder / "damaged-last.ckpt"), "it may be of use to somebody"


def test_with_none_left_the_run_is_refused_with_a_way_out(run):
    (run / "checkpoints" / LAST).write_bytes(b"")
    (run / "checkpoints" / PREVIOUS).write_text("x")
    with pytest.raises(CheckpointError) as caught:
        find(run)
    text = str(caught.value)
    for part in (LAST, PREVIOUS, "is empty", "delete", "from the beginning"):
        assert part in text


def test_metrics_that_vanished_lead_back_or_are_refused(run):
    path = run / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]))
    found = find(run)
    assert found.step == 4
    assert "metrics.jsonl has 5 of the 6 lines" in found.passed_over[0]
    path.write_bytes(b"".join(lines[:3]))
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl has 3 of the 4 lines"):
        find(run)
    path.write_bytes(b"".join(lines[1:]))
    with pytest.raises(CheckpointError, match=r"begins with other lines"):
        find(run)


def test_old_checkpoints_know_less(run):
    path = run / "checkpoints" / LAST
    torch.save({key: value for key, value in torch.load(path).items() if key != "run"}, path)
    assert find(run).step == 6
    assert (find(run).journals, find(run).data) == ({}, None)


def test_the_best_one_must_be_there_and_may_help_out(run):
    folder = run / "checkpoints"
    journal = Journal(run / "other.jsonl")
    for name, step in ((LAST, 6), (PREVIOUS, 4)):
        torch.save(checkpoint(step, journal, best_step=5 if step == 6 else 2), folder / name)
    assert_refused(run, "counts on", BEST, "is missing")
    torch.save(checkpoint(2, journal, best_step=2), folder / BEST)
    found = find(run)
    assert found.step == 4, "the last one counts on a better one than there is"
    assert "which is of step 2 and not 5" in found.passed_over[0]
    torch.save(checkpoint(5, journal, best_step=5), folder / BEST)
    assert find(run).step == 6
    for name in (LAST, PREVIOUS):
        (folder / name).write_text("x")
    found = find(run)
    assert (found.step, found.path.name) == (5, BEST)
    assert set_damaged_aside(folder, found) == folder / BEST


def assert_refused(run, *parts):
    with pytest.raises(CheckpointError) as caught:
        find(run)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_weights_that_were_kept_must_be_there(run):
    folder = run / "checkpoints"
    assert find(run).step == 6, "it kept none"
    content = torch.load(folder / LAST, weights_only=True)
    content["callbacks"]["Checkpoints"]["kept_steps"] = [5]
    torch.save(content, folder / LAST)
    assert find(run).step == 4, "from there it is written again"
    torch.save({"global_step": 5, "state_dict": {}}, folder / step_file(5))
    assert find(run).step == 6
    (folder / step_file(5)).write_text("x")
    assert find(run).step == 4


def test_a_finished_runs_one_can_be_summed_up_again(run):
    folder = run / "checkpoints"
    drop_optimizer_state(folder)
    assert not (folder / PREVIOUS).exists()
    assert find(run, num_steps=6).step == 6
    with pytest.raises(CheckpointError, match="holds no optimizer_states"):
        find(run)


def test_a_whole_one_is_there_at_every_moment(run, monkeypatch):
    """Whatever operation on files is the last."""
    folder = run / "checkpoints"
    journal = Journal(run / "other.jsonl")
    state = checkpoint(8, journal)

    class Died(BaseException):
        pass

    left = 0

    def dying(operation):
        def call(*arguments):
            nonlocal left
            left -= 1
            if left < 0:
                raise Died
            return operation(*arguments)

        return call

    for name in ("replace", "link", "fsync"):
        monkeypatch.setattr(os, name, dying(getattr(os, name)))
    seen = set()
    for count in range(6):
        left = count
        with suppress(Died):
            save_durably(state, folder / LAST, keeps_previous=True)
        left = 99
        seen.add(find(run).step)
    assert seen == {6, 8}
    assert {path.name for path in folder.iterdir()} == {LAST, PREVIOUS}
    assert torch.load(folder / PREVIOUS)["global_step"] in (6, 8)


def test_without_hard_links_the_one_before_is_kept_too(run, monkeypatch):
    def fail(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", fail)
    folder = run / "checkpoints"
    save_durably(checkpoint(8, Journal(run / "other.jsonl")), folder / LAST, keeps_previous=True)
    assert [torch.load(folder / name)["global_step"] for name in (LAST, PREVIOUS)] == [8, 6]


def test_a_disk_that_is_full_leaves_both(run, monkeypatch):
    folder = run / "checkpoints"
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match=r"last\.ckpt: the disk or your quota is full"):
        save_durably({"x": torch.zeros(4)}, folder / LAST, keeps_previous=True)
    assert {path.name for path in folder.iterdir()} == {LAST, PREVIOUS}
    assert find(run).step == 6
