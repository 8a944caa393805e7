"""`drpt train task=reward` end to end, on the embedded encoder and pairs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drpt.data.on_topic import OnTopicPairs
from drpt.rewards.preference import PreferenceReward
from drpt.rewards.reward import Answer
from tests.app.test_rlvr import curve, figures, only_run

SMALL = (
    "task=reward",
    "logger=off",
    "data.source.general=[ai,psychology]",
    "data.num_general=48",
    "data.num_eval=40",
    "data.num_target=8",
    "data.general_rows=16",
    "data.target_rows=4",
    "data.max_length=48",
    "trainer.max_steps=12",
    "trainer.checkpoint_every_steps=1",
    "evaluation.every_steps=6",
)


def test_a_run_leaves_a_reward_behind(drpt):
    status, text = drpt("train", *SMALL, "sweep=one")
    assert status == 0, text
    folder = only_run("one")
    accuracy, loss = curve(folder, "target/accuracy/mean"), curve(folder, "target/loss/mean")
    assert sorted(accuracy) == [0, 6, 12]
    assert accuracy[0] == 0.5
    assert loss[0] == pytest.approx(0.6931, abs=1e-4)
    assert accuracy[12] > 0.8, "above chance by more than four standard errors of 40 pairs"
    assert loss[12] < 0.66
    assert (
        set(curve(folder, "train/general_loss/mean")) == set(curve(folder, "train/target_accuracy/mean")) == set(range(1, 13))
    )
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["num_trained_parameters"], summary["num_parameters"]) == (768, 22_566_144)
    assert "held-out accuracy %" in text
    samples = json.loads((folder / "samples.json").read_text())
    assert sum(sample["is_correct"] for sample in samples) / len(samples) == accuracy[12]
    assert_the_reward_can_be_used(folder / "reward_model")


def assert_the_reward_can_be_used(path):
    pairs = list(OnTopicPairs(target="trivia", general=["science"]).target(0))[:40]
    chosen, rejected = (
        [Answer(example=pair, text=text, is_finished=True, num_tokens=1) for pair, text in zip(pairs, texts, strict=True)]
        for texts in ([pair.response for pair in pairs], [pair.payload["rejected"] for pair in pairs])
    )
    verdicts = PreferenceReward(path=str(path))([*chosen, *rejected])
    values = [verdict.value for verdict in verdicts]
    assert sum(a > b for a, b in zip(values[:40], values[40:], strict=True)) > 32
    assert {verdict.outcome for verdict in verdicts} == {"preferred", "dispreferred"}


def test_files_of_ones_own_and_a_stopped_run(tmp_path, drpt):
    pairs = [
        {"prompt": f"Say {word}", "chosen": f"{word}!", "rejected": "No, thanks."} for word in ["red", "blue", "green", "black"]
    ]
    for name, words in {"general": 1, "target": 2}.items():
        lines = [json.dumps(pair | {"prompt": pair["prompt"] + " please" * (words + i)}) for i in range(3) for pair in pairs]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    words = (
        "data=preferences",
        "data.source.general=general.jsonl",
        "data.source.target=target.jsonl",
        "regularizer=target_only_stopped",
        "regularizer.stopping_share=0.5",
        "data.num_eval=3",
        "data.num_general=null",
        "data.num_target=4",
        "data.target_rows=2",
        "data.general_rows=4",
        "trainer.max_steps=4",
        "evaluation.every_steps=2",
    )
    status, text = drpt("train", "task=reward", "logger=off", *words, "sweep=own")
    assert status == 0, text
    folder = only_run("own")
    assert curve(folder, "stopping/loss/mean")
    assert (folder / "reward_model" / "head.safetensors").exists()


@pytest.mark.long
def test_a_killed_run_goes_on(tmp_path, drpt):
    words = (*SMALL, "trainer.max_steps=40", "evaluation.every_steps=10", "sweep=long")
    broken = tmp_path / "broken"
    broken.mkdir()
    code = "from drpt.app.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, "train", *words], cwd=broken, stdout=subprocess.DEVNULL)
    wait_for_step(process, broken, 5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    os.chdir(broken)
    assert not list(Path("runs/long").glob("*/reward_model"))
    status, text = drpt("resume", "runs/long")
    assert status == 0, text
    assert "resumes after step" in text
    resumed, reward = figures(only_run("long")), head_of(only_run("long"))
    os.chdir(tmp_path)
    status, text = drpt("train", *words)
    assert status == 0, text
    assert figures(only_run("long")) == resumed
    assert head_of(only_run("long")) == reward


def head_of(folder):
    return [(folder / "reward_model" / name).read_bytes() for name in ("config.json", "head.safetensors")]


def wait_for_step(process, folder, step):
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        files = list(Path(folder, "runs", "long").glob("*/metrics.jsonl"))
        if files and any(f'"step": {step}, "name": "train' in line for line in files[0].read_text().splitlines()):
            return
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.002)
    raise AssertionError("never got there")


BAD = {
    ("model=tiny",): "it needs model=sentence_encoder",
    ("finetune=full",): "it needs finetune=head",
    ("trainer.micro_batches=2",): "it can only be 1",
    ("trainer.precision=bf16-mixed",): "it can only be 32-true",
    ("evaluation.num_generate=3",): "it can only be 0",
    ("data.max_length=1000",): "at most 512 tokens",
    ("data.source.target=trivias",): "Did you mean 'trivia'",
    ("data=reasoning",): "has no rejected response",
    ("regularizer.base_weights=example",): "all pairs count alike",
    ("reward=exact",): "goes with a task that draws responses",
    ("data=preferences",): "data.source.general is needed",
}


@pytest.mark.parametrize(("words", "said"), BAD.items())
def test_what_cannot_be_right_stops_at_once(drpt, words, said):
    small = [word for word in SMALL if not word.startswith("data.source") or "data=" not in words[0]]
    status, text = drpt("train", *small, *words, "sweep=bad")
    assert status == 2
    assert said in " ".join(text.split())
    assert not list(Path("runs").glob("bad/*"))


@pytest.mark.parametrize("words", [("model=sentence_encoder",), ("finetune=head",)])
def test_the_encoder_goes_with_this_task_alone(drpt, words):
    status, text = drpt("train", "logger=off", *words, "sweep=bad")
    assert status == 2
    assert f"{words[0]} goes with task=reward alone" in " ".join(text.split())


def test_a_learned_reward_needs_its_folder(drpt):
    status, text = drpt("train", "task=rlvr", "reward=learned", "logger=off", "sweep=bad")
    assert status == 2
    assert "reward.terms.preference.path is needed" in text
    status, text = drpt("train", "task=rlvr", "reward=learned", "reward.terms.preference.path=nowhere", "sweep=bad")
    assert status == 2
    assert "nowhere: there is no config.json" in " ".join(text.split())


def test_what_is_of_supervised_runs_alone_says_so(drpt):
    status, text = drpt("probe", "task=reward")
    assert status == 2
    assert "choose task=sft" in " ".join(text.split())
    status, text = drpt("explain", "layerwise_hull", "task=reward")
    assert status == 0, text
    assert "no plan: steps of task=reward" in text
