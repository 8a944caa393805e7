"""`drpt train task=rlhf` end to end, on the tiny model: PPO learns, its penalty holds it back, and a killed run goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drpt.app import training
from drpt.modules import regularized
from drpt.optim.build import build_optimizer
from tests.app.test_rlvr import curve, figures, only_run, wait_for_step
from tests.rewards.classifiers import save

LETTERS = (
    "~reward.terms.language",
    "+reward.terms.letters={_target_: tests.app.rewards.ManyLetters, weight: 1.0, threshold: 0.4}",
)
TINY = (
    "task=rlhf",
    "data=easy_reasoning",
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
    "rollout.num_prompts=6",
    "rollout.num_responses=2",
    "rollout.max_tokens=6",
    "algorithm.epochs=2",
    *LETTERS,
)
VLLM = (*TINY, "rollout.kv_cache_mib=32")
SLOW = (*TINY, "rollout=transformers", "rollout.num_prompts=6", "rollout.num_responses=2", "rollout.max_tokens=6")
# Two tokens a response, of which the best are known: lower-case letters, a tenth of what a random model says.
LEARNING = (
    *SLOW,
    "finetune=full",
    "regularizer=full",
    "trainer.max_steps=40",
    "trainer.checkpoint_every_steps=40",
    "evaluation.every_steps=40",
    "evaluation.num_generate=6",
    "evaluation.pass_k=8",
    "data.general_rows=32",
    "rollout.num_prompts=16",
    "rollout.num_responses=8",
    "rollout.max_tokens=2",
    "optimizer.lr=1e-2",
    "optimizer.schedule=constant",
    "algorithm.kl.control=fixed",
)


@pytest.mark.vllm
@pytest.mark.parametrize("finetune", ["lora", "full"])
def test_a_run_leaves_everything_behind(drpt, finetune):
    status, text = drpt("train", *VLLM, f"finetune={finetune}", "sweep=one")
    assert status == 0, text
    folder = only_run("one")
    assert sorted(curve(folder, "target/reward/mean")) == [0, 3, 6]
    assert max(curve(folder, "rollout/mismatch/mean").values()) < 1e-4
    for name in (
        "target/judge_sentiment/mean",
        "target/reward_gap/mean",
        "target/judge_toxicity/max",
        "train/kl/mean",
        "train/kl_response/mean",
        "train/kl_coefficient/value",
        "train/value_loss/mean",
        "train/explained_variance/value",
        "train/clip_fraction/mean",
        "train/entropy/mean",
        "train/response_length/mean",
    ):
        assert curve(folder, name), name
    assert curve(folder, "train/kl_response/mean")[1] == pytest.approx(0, abs=1e-4), "the policy begins as its reference"
    samples = json.loads((folder / "samples.json").read_text())
    assert samples[0].keys() == {"prompt", "expected", "answer", "is_correct", "reward", "sentiment"}
    page = Path("runs/one/report.html").read_text()
    assert "second judge" in page
    assert "<th>sentiment</th>" in page
    assert "<th>expected</th>" in page, "sums have a reference, even if this reward does not look at it"
    assert 'class="wrong"' in page, "this reward judges its answers"


SETTINGS = {
    "full PPO loss, held-out prompts": ("algorithm.target.source=prompts", "algorithm.target.objective=train_loss"),
    "before clipping": ("regularizer=layerwise_hull", "algorithm.target.objective=train_loss_preclip"),
    "token-wise, every two steps": (
        "regularizer=global_filter",
        "algorithm.target.objective=token_pg",
        "algorithm.target.refresh_steps=2",
    ),
    "target alone": ("regularizer=target_only", "algorithm.target.source=prompts", "algorithm.target.objective=train_loss"),
    "once a phase": ("regularizer=iif", "trainer.micro_batches=2"),
    "all extras": (
        "regularizer=full",
        "algorithm.entropy_coefficient=0.01",
        "algorithm.score.scaling=standard",
        "algorithm.score.clip=2",
        "algorithm.whiten_rewards=true",
        "algorithm.value.clip=null",
        "algorithm.kl.estimator=k3",
    ),
    "without a reference": (
        "algorithm.kl.control=fixed",
        "algorithm.kl.coefficient=0",
    ),
    "bfloat16": ("trainer.precision=bf16-true", "finetune=full", "trainer.micro_batches=2", "rollout.dtype=bfloat16"),
    "texts without markers, activations recomputed": ("model.chat_template=text", "model.gradient_checkpointing=true"),
    "dropped at random, once a phase": (
        "regularizer=random_subset",
        "regularizer.choice_scope=phase",
        "regularizer.partition=global",
    ),
    "rewards compared within groups": (
        "algorithm=grpo",
        "algorithm.old_logprobs=trainer",
        "regularizer=iif",
        "algorithm.target.source=self",
    ),
}


# One in three for every change, the others for `make test-long`.
@pytest.mark.parametrize(
    "words",
    [pytest.param(words, marks=[pytest.mark.long] * (place % 3 > 0)) for place, words in enumerate(SETTINGS.values())],
    ids=SETTINGS.keys(),
)
def test_settings_work_together(drpt, words):
    status, text = drpt("train", *SLOW, "regularizer=layerwise_filter", *words, "sweep=some")
    assert status == 0, text
    folder = only_run("some")
    assert set(curve(folder, "train/update_norm/mean")) == set(range(1, 7))
    assert all(value > 0 for value in curve(folder, "train/update_norm/mean").values())
    if "regularizer=iif" in words or "regularizer.choice_scope=phase" in words:
        shares = curve(folder, "train/phase_kept_share/mean").values()
        assert all(0 < share <= 1 for share in shares)
        assert curve(folder, "train/phase_choice_seconds/value")
        assert "train/target_seconds/value" not in {name for _, name, _ in figures(folder)}, "ordinary steps afterwards"


KILLED = {
    "everything that has a state": ("algorithm.score.scaling=standard", "algorithm.target.refresh_steps=3"),
    "a choice by phase, cut short": ("regularizer=iif", "finetune=full", "algorithm.kl.stop=1e-5", "algorithm.epochs=4"),
}


@pytest.mark.long
@pytest.mark.parametrize("extra", KILLED.values(), ids=KILLED.keys())
def test_a_killed_run_goes_on_in_the_middle_of_a_phase(tmp_path, drpt, extra):
    words = (*SLOW, "trainer.max_steps=8", *extra, "sweep=long")
    broken = tmp_path / "broken"
    broken.mkdir()
    code = "from drpt.app.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, "train", *words], cwd=broken, stdout=subprocess.DEVNULL)
    wait_for_step(process, broken, 4)
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


@pytest.mark.long
def test_the_best_action_is_learned_and_the_penalty_holds_the_policy_back(drpt):
    reward, divergence = [], []
    for coefficient in (0.0, 0.2, 2.0):
        # With a coefficient of 0 there is no reference; the smallest one measures how far the policy goes by itself.
        status, text = drpt("train", *LEARNING, f"algorithm.kl.coefficient={max(coefficient, 1e-9)}", f"sweep=kl{coefficient}")
        assert status == 0, text
        folder = only_run(f"kl{coefficient}")
        start, end = curve(folder, "target/reward/mean").values()
        assert start < 0.2
        reward.append(end)
        divergence.append(list(curve(folder, "train/kl/mean").values())[-1])
    assert reward[0] > 0.95, "all letters would be 1"
    assert divergence[0] > 1.3 * divergence[1] > 1.3**2 * divergence[2] > 0, divergence
    assert reward[0] > reward[2]


def test_a_phase_ends_where_the_policy_has_gone_too_far(drpt):
    status, text = drpt(
        "train", *LEARNING, "trainer.max_steps=12", "algorithm.epochs=8", "algorithm.kl.stop=0.05", "sweep=some"
    )
    assert status == 0, text
    folder = only_run("some")
    skipped = curve(folder, "train/skipped_steps/value")
    assert skipped
    assert all(curve(folder, "train/kl_old/mean")[step] > 0.05 for step in skipped)
    phases = curve(folder, "train/phase/value")
    assert all(phases.get(step + 1, phases[step] + 1) == phases[step] + 1 for step in skipped)


BAD = {
    "algorithm.kl.estimator=k4": "Choices: k1, k2, k3",
    "algorithm.kl.target=null": "algorithm.kl.control=adaptive needs it",
    "algorithm.kl.coefficient=0": "0 stays 0",
    "algorithm.kl.horizon=2": "must be above 2.4, or one phase could turn the penalty's sign",
    "trainer.micro_batches=5": "more than the step's 4 examples",
    "reward.judges.answer={_target_: drpt.rewards.sentiment.SentimentReward}": "this name is a column",
    "algorithm.value.lr=0": "the value head's learning rate",
    "algorithm.gae_lambda=1.5": "must lie in [0, 1]",
    "algorithm.score.scaling=minmax": "Choices: none, spread, standard",
    "regularizer.choice_scope=phase": "all layers train on a response, or none",
    "algorithm.advantage=std": "advantage",
    "reward.judges.sentiment.words=3": "reward.judges.sentiment",
}


@pytest.mark.parametrize(("word", "said"), BAD.items())
def test_what_cannot_be_right_stops_at_once(drpt, word, said):
    start = time.monotonic()
    words = ("regularizer=layerwise_filter",) if "pool" in word else ()
    status, text = drpt("train", *VLLM, *words, word if "judges" not in word else f"+{word}", "sweep=bad")
    assert status == 2, text
    assert said in " ".join(text.split())
    assert time.monotonic() - start < 10


SMALL = tuple(word for word in SLOW if not word.startswith(("~reward", "+reward", "data=", "logger=")))


@pytest.mark.parametrize(("reward", "judge"), [("inoffensive", "sentiment"), ("positive", "language")])
def test_the_tasks_own_prompts_and_rewards(drpt, reward, judge):
    """Toxic prompts, an embedded classifier and a lexicon; either rewards, and the other one watches."""
    # A random model says no word of the lexicon: without a bonus for entropy it would have nothing to learn from.
    words = ("algorithm.entropy_coefficient=0.01", "trainer.max_steps=3", "sweep=own")
    status, text = drpt("train", *SMALL, f"reward={reward}", *words)
    assert status == 0, text
    folder = only_run("own")
    for name in ("reward", "toxicity", "judge", "judge_toxicity", f"judge_{judge}", "reward_gap"):
        assert sorted(curve(folder, f"target/{name}/mean")) == [0, 3], name
    for role in ("toxicity", "judge_toxicity"):
        means, highest, rates = (curve(folder, f"target/{role}/{figure}") for figure in ("mean", "max", "rate"))
        assert all(0 <= means[step] <= highest[step] <= 1 and 0 <= rates[step] <= 1 for step in (0, 3))
    samples = json.loads((folder / "samples.json").read_text())
    assert all(judge in sample for sample in samples)
    tables = {path.name.split("_")[0] for path in folder.glob("wandb/offline-run-*/files/media/table/**/*.json")}
    assert tables >= {"samples", "outcomes"}, "the tracker has them, too"


def test_the_value_head_has_a_learning_rate_of_its_own(drpt, monkeypatch):
    optimizers = []

    def watched(*arguments, **options):
        built = build_optimizer(*arguments, **options)
        optimizers.append(built[0])
        return built

    monkeypatch.setattr(regularized, "build_optimizer", watched)
    words = ("optimizer.schedule=constant", "optimizer.warmup_share=0", "algorithm.value.lr=0.02", "trainer.max_steps=3")
    status, text = drpt("train", *SLOW, *words, "sweep=rates")
    assert status == 0, text
    trunk, head = optimizers[0].param_groups
    assert (trunk["lr"], head["lr"]) == (1e-3, 0.02)
    assert [tuple(parameter.shape) for parameter in head["params"]] == [(1, 64), (1,)]
    assert all("step" in optimizers[0].state[parameter] for parameter in head["params"]), "it was trained"


def test_a_classifier_without_the_label_stops_before_the_policy_is_loaded(drpt, tmp_path, monkeypatch):
    folder = save(tmp_path / "classifier", {0: "nothate", 1: "hate"})
    monkeypatch.setattr(training, "load_model", lambda spec: pytest.fail("the policy was loaded"))
    words = ("reward=hate_speech", f"reward.terms.roberta.model={folder}", "reward.terms.roberta.label=nohate")
    words = (*words, "reward.terms.roberta.max_length=16", "data.max_length=512")
    status, text = drpt("train", "task=rlhf", "model=tiny", "logger=off", *words, "sweep=bad")
    assert status != 0
    assert "has no such label. Did you mean 'nothate'?" in " ".join(text.split())
