"""`drpt train task=rlvr` end to end: the real engine on the tiny model."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drpt.metrics import read_metrics
from tests.data.test_hub import table_words

pytestmark = pytest.mark.vllm

TINY = (
    "task=rlvr",
    "model=tiny",
    "logger=off",
    "trainer.max_steps=6",
    "trainer.checkpoint_every_steps=1",
    "evaluation.every_steps=3",
    "evaluation.num_generate=3",
    "evaluation.pass_k=2",
    "data.num_general=24",
    "data.num_eval=6",
    "data.num_target=4",
    "data.target_rows=2",
    "data.general_rows=4",
    "data.max_length=224",
    "optimizer.lr=1e-3",
    "rollout.num_prompts=3",
    "rollout.num_responses=4",
    "rollout.max_tokens=6",
    "rollout.kv_cache_mib=32",
    "~reward.terms.correct",
    "+reward.terms.letters={_target_: tests.app.rewards.ManyLetters, weight: 1.0, threshold: 0.4}",
)


def only_run(sweep):
    (folder,) = (path.parent for path in Path("runs", sweep).glob("*/summary.json"))
    return folder


def figures(folder):
    """Everything measured that does not depend on the clock or the machine's memory."""
    lines = read_metrics(folder / "metrics.jsonl")
    clock = ("second", "memory")
    return [(line["step"], line["name"], line["value"]) for line in lines if not any(word in line["name"] for word in clock)]


def curve(folder, name):
    return {line["step"]: line["value"] for line in read_metrics(folder / "metrics.jsonl") if line["name"] == name}


@pytest.mark.parametrize("finetune", ["lora", "full"])
def test_a_run_leaves_everything_behind(drpt, finetune):
    status, text = drpt("train", *TINY, f"finetune={finetune}", "sweep=one")
    assert status == 0, text
    folder = only_run("one")
    assert sorted(curve(folder, "target/reward/mean")) == [0, 3, 6]
    assert sorted(curve(folder, "rollout/sync_seconds/value")) == [1, 4]  # three steps a phase
    assert list(curve(folder, "train/staleness/value").values()) == [0, 1, 2, 0, 1, 2]
    assert max(curve(folder, "rollout/mismatch/mean").values()) < 1e-4
    for name in (
        "train/reward/mean",
        "train/entropy/mean",
        "train/kl/mean",
        "train/clip_fraction/mean",
        "target/pass_at_k/mean",
    ):
        assert curve(folder, name), name
    ratios = curve(folder, "train/ratio/mean")
    assert ratios[1] == pytest.approx(1, abs=1e-4), "the first step of a phase is on-policy"
    assert ratios[3] != pytest.approx(1, abs=1e-6)
    samples = json.loads((folder / "samples.json").read_text())
    assert len(samples) == 3
    assert samples[0].keys() == {"prompt", "expected", "answer", "is_correct", "reward"}
    outcomes = json.loads((folder / "outcomes.json").read_text())
    assert {row["outcome"] for row in outcomes} <= {"many", "few"}
    assert sum(row["count"] for row in outcomes if row["step"] == 1) == 12
    assert "reward" in text


# The reference engine starts at once; what the real one changes has tests of its own, here and in tests/rollouts.
SLOW = (*TINY, "rollout=transformers")
SETTINGS = {
    "target alone": ("regularizer=target_only",),
    "stopped early": ("regularizer=target_only_stopped", "regularizer.stopping_share=0.5", "data.num_target=4"),
    "standard": ("regularizer=full", "algorithm=dapo"),
    "the same rollouts": ("regularizer=layerwise_filter", "algorithm.target.source=self"),
    "training loss, refreshed": (
        "regularizer=layerwise_hull",
        "algorithm.target.objective=train_loss",
        "algorithm.target.refresh_steps=2",
    ),
    "mixed": ("regularizer=mix", "algorithm=dr_grpo", "trainer.micro_batches=2"),
    "sketched, over all layers": ("regularizer=global_hull", "regularizer.products=sketch", "algorithm.epochs=2"),
    "each batch for itself": ("regularizer=layerwise_subset", "regularizer.choice_scope=micro", "trainer.micro_batches=2"),
    "recomputed": (
        "algorithm.old_logprobs=trainer",
        "algorithm.importance_cap=2",
        "rollout.top_p=0.9",
        "trainer.precision=bf16-mixed",
        "rollout.dtype=bfloat16",
    ),
    "scores compared": ("trainer.precision=bf16-mixed", "algorithm.old_logprobs=trainer", "trainer.score_check_steps=2"),
    "relaxed": ("regularizer.relaxation=0.5", "algorithm.target.objective=token_pg", "algorithm.zero_variance=drop"),
}


@pytest.mark.long
@pytest.mark.parametrize("rule", ["drop", "resample"])
def test_phases_whose_rewards_are_alike_are_gone_through(drpt, rule):
    own = "+reward.terms.own={_target_: tests.app.rewards.AlikeAtFirst, weight: 1.0, alike_calls: 6}"
    words = [*SLOW, own, f"algorithm.zero_variance={rule}", "algorithm.resample_rounds=2", "regularizer=full"]
    words = [word for word in words if not word.startswith("+reward.terms.letters")]
    status, text = drpt("train", *words, "sweep=late")
    assert status == 0, text
    folder = only_run("late")
    assert curve(folder, "train/phases_in_vain/value")[1] >= 1
    assert curve(folder, "rollout/scoring_seconds/value")[1] > 0


@pytest.mark.long
def test_rewards_that_stay_alike_end_the_run_with_the_reason(drpt):
    words = [word for word in SLOW if not word.startswith("+reward.terms.letters")]
    alike = "+reward.terms.own={_target_: tests.app.rewards.Alike, weight: 1.0}"
    status, text = drpt("train", *words, alike, "algorithm.zero_variance=drop", "regularizer=full", "sweep=never")
    assert status == 1
    assert "in 8 of 8 phases in a row all rewards of every group were alike" in " ".join(text.split())


# One in three for every change, the others for `make test-long`.
@pytest.mark.parametrize(
    "words",
    [pytest.param(words, marks=[pytest.mark.long] * (place % 3 > 0)) for place, words in enumerate(SETTINGS.values())],
    ids=SETTINGS.keys(),
)
def test_settings_work_together(drpt, words):
    needs_vllm = any("bfloat16" in word for word in words)
    status, text = drpt("train", *(TINY if needs_vllm else SLOW), *words, "sweep=some")
    assert status == 0, text
    folder = only_run("some")
    assert json.loads((folder / "summary.json").read_text())["steps"] == 6
    assert set(curve(folder, "train/update_norm/mean")) == set(range(1, 7))
    assert all(value > 0 for value in curve(folder, "train/update_norm/mean").values())
    assert set(curve(folder, "rollout/mismatch/mean")) == set(curve(folder, "rollout/sync_seconds/value"))


def test_word_problems_of_a_table_are_rewarded_as_mathematics(drpt, tmp_path, monkeypatch):
    """The hub's source and the real verifier in a run, on a table of GSM8K's columns."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    path = tmp_path / "train.jsonl"
    rows = [
        {"question": f"{i} nuts and {i} more?", "answer": f"{i}+{i}=<<{i}+{i}={2 * i}>>{2 * i}\n#### {2 * i}"}
        for i in range(60)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("rollout=transformers", "rollout.num_prompts=3", "rollout.num_responses=4", "rollout.max_tokens=6")
    words += ("data.general_rows=4", "data.target_rows=2", "data.num_target=4", "data.num_eval=6", "data.max_length=224")
    words += ("trainer.max_steps=3", "evaluation.every_steps=3", "evaluation.num_generate=3", "evaluation.pass_k=2")
    words += ("regularizer=mix",)  # no answer of a random model is right: only the target objective says what to do then
    tables = table_words(path)
    status, text = drpt(
        "train", "task=rlvr", "data=gsm8k", "reward=math", "model=tiny", "logger=off", *words, *tables, "sweep=one"
    )
    assert status == 0, text
    folder = only_run("one")
    outcomes = json.loads((folder / "outcomes.json").read_text())
    assert {row["outcome"] for row in outcomes} <= {"correct", "wrong", "unparsable", "timed_out"}
    assert sum(row["count"] for row in outcomes if row["step"] == 1) == 12
    assert sorted(curve(folder, "target/reward/mean")) == [0, 3]
    assert all(sample["expected"].split("#### ")[1].isdigit() for sample in json.loads((folder / "samples.json").read_text()))


@pytest.mark.long
def test_the_same_run_gives_the_same_figures(drpt):
    for sweep in ("once", "twice"):
        status, text = drpt("train", *TINY, f"sweep={sweep}")
        assert status == 0, text
    assert figures(only_run("once")) == figures(only_run("twice"))


@pytest.mark.long
def test_a_killed_run_goes_on_in_the_middle_of_a_phase(tmp_path, drpt):
    words = (*TINY, "trainer.max_steps=8", "algorithm.target.refresh_steps=3", "sweep=long")
    broken = tmp_path / "broken"
    broken.mkdir()
    code = "from drpt.app.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, "train", *words], cwd=broken, stdout=subprocess.DEVNULL)
    wait_for_step(process, broken, 5)  # of the second phase, which has steps 4 to 6
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    os.chdir(broken)
    status, text = drpt("resume", "runs/long")
    assert status == 0, text
    assert "resumes after step" in text
    resumed = figures(only_run("long"))
    os.chdir(tmp_path)
    status, text = drpt("train", *words)
    assert status == 0, text
    assert figures(only_run("long")) == resumed


def test_an_engine_that_keeps_old_weights_stops_the_run(drpt, monkeypatch):
    from drpt.rollouts.vllm_engine import VllmRollout

    sync, calls = VllmRollout.sync, []

    def only_once(self, weights):
        calls.append(1)
        if len(calls) == 1:  # before the first evaluation; the first phase finds the same weights
            sync(self, weights)

    monkeypatch.setattr(VllmRollout, "sync", only_once)
    status, text = drpt("train", *TINY, "sweep=stale")
    assert status == 1, text
    assert len(calls) >= 3
    folder = only_run("stale")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert summary["error"].startswith("StaleWeightsError: ")
    assert max(curve(folder, "train/update_norm/mean")) == 3, "the second phase trained nothing"


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
    "rollout.top_p=0.9": "truncated distribution",
    "rollout.dtype=bfloat16": "float32 alone",
    "data.general_rows=5": "must divide the phase's 12 responses",
    "finetune.dropout=0.1": "not the one that answers",
    "rollout.num_responses=1": "at least 2",
    "regularizer.relaxation=auto": "spread among",
    "regularizer.base_weights=example": "algorithm.normalisation",
    "algorithm.advantage=best": "Choices: std, mean, rloo",
    "reward.terms.letters._target_=drpt.rewards.nothing.Nothing": "cannot be imported",
    "~algorithm": "task=rlvr needs one",
}


@pytest.mark.parametrize(("word", "said"), BAD.items())
def test_what_cannot_be_right_stops_at_once(drpt, word, said):
    start = time.monotonic()
    status, text = drpt("train", *TINY, word, "sweep=bad")
    assert status == 2
    assert said in " ".join(text.split())
    assert time.monotonic() - start < 5
    assert not list(Path("runs").glob("bad/*"))


def test_groups_of_rollouts_are_refused_without_them(drpt):
    status, text = drpt("train", "rollout=vllm", "sweep=bad")
    assert status == 2
    assert "goes with a task that draws responses" in text


@pytest.mark.parametrize(
    "words",
    [
        ("data.source.target=puzzle24",),
        ("data.source.general=[countdown,gcd]",),
    ],
)
def test_answers_are_never_run_as_code(drpt, words):
    start = time.monotonic()
    status, text = drpt("train", "task=rlvr", "reward=reasoning", "model=tiny", "logger=off", *words, "sweep=bad")
    assert status == 2, text
    assert "runs answers as Python code" in " ".join(text.split())
    assert time.monotonic() - start < 10


def test_what_is_of_supervised_runs_alone_says_so(drpt):
    status, text = drpt("probe", "task=rlvr", "model=tiny")
    assert status == 2
    assert "choose task=sft" in " ".join(text.split())
    status, text = drpt("explain", "layerwise_hull", "task=rlvr")
    assert status == 0, text
    assert "no plan: steps of task=rlvr" in text
