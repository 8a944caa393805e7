"""What a run goes on from when files of it are damaged, lost or of an older version."""

import json
from pathlib import Path

import pytest
import torch

from tests.app import processes
from tests.app.conftest import TINY
from tests.app.disturbances import COMMON, SWEEP, TASKS, result_of
from tests.app.test_disturbances import peaceful
from tests.app.test_preemption import SignalAt
from tests.app.test_train import losses, only_run

WORDS = (*TINY, "regularizer=target_only_stopped", "data.num_target=8", "sweep=again")


def test_a_finished_run_that_lost_its_summary_is_summed_up_again(drpt):
    """Its checkpoint has no optimizer state any more, and no step is left to take; nothing is trained."""
    status, text = drpt("train", *WORDS)
    assert status == 0, text
    folder = only_run("again")
    files = ("metrics.jsonl", "samples.json", "checkpoints/best.ckpt")
    before = [(folder / name).read_bytes() for name in files[:2]], json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text('{"status": "fin')
    status, text = drpt("resume", "runs/again")
    assert status == 0, text
    assert "resumes after step 6" in text
    after = [(folder / name).read_bytes() for name in files[:2]], json.loads((folder / "summary.json").read_text())
    assert after[0] == before[0]
    assert after[1]["final"] == before[1]["final"]
    (folder / "metrics.jsonl").write_text("")
    (folder / "summary.json").unlink()
    status, text = drpt("train", *WORDS)
    assert status in (1, 2)
    assert "metrics.jsonl has 0 of the" in text
    assert "to train this run from the beginning" in text
    assert (folder / "checkpoints" / "last.ckpt").exists()


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_text(path.read_text() + '{"folder": "/x", "wor'),
        lambda path: path.write_bytes(b"\xff\xfe\n" + path.read_bytes()),
        lambda path: path.write_text('{"words": 3}\n[]\n\n' + path.read_text()),
    ],
)
def test_a_damaged_record_of_commands_does_not_end_resuming(drpt, harm):
    folder = Path("runs/again")
    folder.mkdir(parents=True)
    record = json.dumps({"folder": str(Path.cwd()), "words": [*WORDS, "trainer.max_steps=1"]})
    (folder / "commands.jsonl").write_text(record + "\n")
    harm(folder / "commands.jsonl")
    from drpt.app.launch import recorded_commands

    (command,) = recorded_commands(folder)
    assert command.words == (*WORDS, "trainer.max_steps=1")


def test_without_a_whole_record_the_way_out_is_said(drpt):
    folder = Path("runs/again")
    folder.mkdir(parents=True)
    (folder / "commands.jsonl").write_text('{"fol')
    status, text = drpt("resume", "runs/again")
    assert status == 2
    assert "commands.jsonl: no line is complete" in text
    assert "Give its command again with sweep=again" in text


def interrupted(place):
    words = ("train", *TASKS["sft"], *COMMON)
    status, text = processes.run(place, *words, prepare=SignalAt("torch.optim:AdamW.step", 5))
    assert status == 143, text
    (last,) = place.glob(f"runs/{SWEEP}/*/checkpoints/last.ckpt")
    return words, last


@pytest.mark.long
def test_a_run_of_an_older_version_goes_on(tmp_path):
    """Its checkpoint knows neither of the metrics nor of the last evaluation."""
    words, last = interrupted(tmp_path)
    old = torch.load(last, weights_only=True)
    del old["run"], old["callbacks"]["HeldOutEvaluation"]
    torch.save(old, last)
    metrics = last.parent.parent / "metrics.jsonl"
    whole = metrics.read_text()
    metrics.write_text("".join(line + "\n" for line in whole.splitlines() if '"step": 3,' not in line))
    (last.parent / "previous.ckpt").unlink()
    status, text = processes.run(tmp_path, *words)
    assert status in (1, 2), text
    assert "metrics.jsonl: 1 of the 5 steps before the checkpoint have no line" in text
    metrics.write_text(whole + '{"step": 6, "name": "train/lo')
    status, text = processes.run(tmp_path, *words)
    assert status == 0, text
    peaceful("sft")[0].assert_equal(result_of(tmp_path))


@pytest.mark.long
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(tmp_path):
    words, last = interrupted(tmp_path)
    content = last.read_bytes()
    last.write_bytes(content[: len(content) // 2])
    status, text = processes.run(tmp_path, *words)
    assert status == 0, text
    assert f"{last} is no checkpoint, or was cut off" in text.replace("\n", "")
    assert "resumes after step 3\n" in text
    peaceful("sft")[0].assert_equal(result_of(tmp_path))
    assert (last.parent / "damaged-last.ckpt").exists()


def test_samples_survive_a_kill_after_the_last_step(tmp_path, drpt):
    """Killed between the last evaluation and the writing of what it found."""
    from drpt.app import training

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "summarize", lambda *_: 1 / 0)
        status, text = drpt("train", *WORDS)
        assert status == 1
    folder = only_run("again")
    assert not (folder / "samples.json").exists()
    measured = losses(folder)
    status, text = drpt("train", *WORDS)
    assert status == 0, text
    assert len(json.loads((folder / "samples.json").read_text())) == 4
    assert losses(folder) == measured


def test_a_folder_in_the_logs_place_is_named(drpt):
    words = (*WORDS, "trainer.max_steps=1", "evaluation.num_generate=0")
    status, text = drpt("train", *words)
    assert status == 0, text
    log = only_run("again") / "train.log"
    log.unlink()
    log.mkdir()
    status, text = drpt("train", *words)
    assert status == 2
    assert "train.log: this is a folder, but a file is needed there" in text
