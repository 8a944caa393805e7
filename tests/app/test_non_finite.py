"""`drpt train` where numbers go wrong: nothing that is NaN or infinite is written, replaces a checkpoint, or finishes."""

import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from drpt.metrics import read_metrics
from drpt.models.tiny import byte_tokenizer
from tests.app import test_rlhf
from tests.app.conftest import TINY

RLHF = (*test_rlhf.SLOW, "~reward.terms.letters", "trainer.max_steps=4", "evaluation.every_steps=4")
FULL = ("finetune=full", "regularizer=full")


def only_run(sweep):
    (folder,) = (path.parent for path in Path("runs", sweep).glob("*/summary.json"))
    return folder


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


def curve(folder, name):
    return [line["value"] for line in read_metrics(folder / "metrics.jsonl") if line["name"] == name]


def checkpoints_of(folder):
    return sorted((folder / "checkpoints").glob("*.ckpt"))


def assert_failed(drpt, words, sweep, *said):
    """The run fails with what was said, and none of its checkpoints holds a number that is none."""
    status, text = drpt("train", *words, f"sweep={sweep}")
    assert status == 1, text
    folder = only_run(sweep)
    summary = summary_of(folder)
    assert summary["status"] == "failed"
    for part in said:
        assert part in summary["error"]
    assert "Traceback" not in text
    for path in checkpoints_of(folder):
        state = torch.load(path, weights_only=True)["state_dict"]
        assert all(bool(value.isfinite().all()) for value in state.values()), path
    return folder


@pytest.fixture
def brittle_model(tmp_path):
    """A model whose losses are finite and whose gradients are not.

    Its norms have an ε of 1e-30, and one token's vector is 0: the norm of it is 0 · 1e15 = 0, and the norm's derivative has the
    third power of 1e15, which float32 cannot hold.
    """
    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        rms_norm_eps=1e-30,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight[tokenizer(" ")["input_ids"][0]] = 0
    model.save_pretrained(tmp_path / "brittle")
    tokenizer.save_pretrained(tmp_path / "brittle")
    return ("model=hub", f"model.name={tmp_path / 'brittle'}")


@pytest.mark.parametrize(
    "words",
    [
        ("regularizer=full", "trainer.max_steps=1"),  # one weighted loss; and no step after it would find out
        ("regularizer=target_only", "optimizer.clip_norm=1.0"),  # cutting the norm would make every gradient NaN
        # Embeddings get the ordinary gradient; the capture's check would find it first.
        ("regularizer=layerwise_subset", "regularizer.parameters=linear_weights", "trainer.check_capture=false"),
    ],
)
def test_a_nan_gradient_under_finite_losses_stops_before_the_weights(drpt, brittle_model, words):
    tiny = [word for word in TINY if word != "model=tiny"]
    folder = assert_failed(
        drpt,
        [*tiny, *brittle_model, "finetune=full", *words],
        "nan",
        "NonFiniteUpdateError: step 1: the update is NaN or infinite",
    )
    assert "model.embed_tokens.weight (block " in summary_of(folder)["error"]
    assert checkpoints_of(folder) == []
    assert curve(folder, "train/update_norm/mean") == []


def test_a_learning_rate_that_is_too_high_leaves_the_checkpoint_of_before(drpt):
    """The second update is NaN: what was written after the first stays, and is not gone on from as if nothing had happened."""
    words = (*TINY, "regularizer=full", "optimizer.lr=1e9", "trainer.checkpoint_every_steps=1")
    folder = assert_failed(drpt, words, "high", "NonFiniteUpdateError: step 2: ", "optimizer.lr")
    (last,) = checkpoints_of(folder)
    assert torch.load(last, weights_only=True)["global_step"] == 1
    before = last.read_bytes()
    assert_failed(drpt, words, "high", "step 2: ")
    assert last.read_bytes() == before


def test_weights_under_which_the_model_computes_no_numbers_do_not_finish(drpt):
    """All weights are finite, 5e17 at most, and no logit is: the evaluation after the last step finds it."""
    words = (*TINY, *FULL, "optimizer.lr=1e18", "trainer.max_steps=1", "trainer.keep_steps=[1]")
    folder = assert_failed(drpt, words, "large", "NonFiniteError: evaluation after step 1: target/loss/mean = nan")
    assert checkpoints_of(folder) == []


def test_a_checkpoint_that_is_no_number_is_not_gone_on_from(drpt):
    words = (*TINY, "trainer.max_steps=2", "sweep=old")
    status, text = drpt("train", *words)
    assert status == 0, text
    folder = only_run("old")
    last = folder / "checkpoints" / "last.ckpt"
    found = torch.load(last, weights_only=True)
    next(iter(found["state_dict"].values())).view(-1)[0] = float("nan")
    torch.save(found, last)
    (folder / "summary.json").write_text(json.dumps(summary_of(folder) | {"status": "running"}))
    status, text = drpt("train", *words)
    assert status == 1
    assert "the checkpoint to go on from has NaN or infinite weights in 1 parameters" in summary_of(folder)["error"]


@pytest.mark.parametrize(
    "words",
    [
        ("regularizer=full", "regularizer.set=tests.app.sets.Nothing"),
        ("regularizer=layerwise_subset", "regularizer.set=tests.app.sets.Nothing", "optimizer.weight_decay=0.1"),
    ],
)
def test_a_run_that_changes_nothing_fails_and_fails_again(drpt, words):
    words = (*TINY, *words, "regularizer.strength=null", "trainer.max_steps=2")
    assert_failed(drpt, words, "vain", "VanishedUpdatesError: all 2 updates of this run were exactly zero")
    assert_failed(drpt, words, "vain", "VanishedUpdatesError: all 2 updates")  # no step is left to take


def test_single_updates_of_zero_are_counted(drpt):
    words = ("regularizer=full", "regularizer.set=tests.app.sets.NothingAtFirst", "trainer.max_steps=4", "sweep=some")
    status, text = drpt("train", *TINY, *words)
    assert status == 0, text
    assert curve(only_run("some"), "train/zero_updates/sum") == [1, 2, 2, 2]


def odd(value, good_calls, size=1.0, weight="weight: 1.0, "):
    return f"{{_target_: tests.app.rewards.Odd, {weight}value: {value}, good_calls: {good_calls}, size: {size}}}"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            f"+reward.terms.odd={odd('nan', 2)}",
            "step 1, phase 0: reward.terms.odd returns a value that is NaN or infinite for 1 of 12",
        ),
        (
            f"+reward.terms.odd={odd('inf', 0)}",
            "evaluation after step 0: reward.terms.odd returns a value that is NaN or infinite",
        ),
        (
            f"+reward.judges.odd={odd('nan', 2, weight='')}",
            "step 1, phase 0: reward.judges.odd returns a value that is NaN or infinite",
        ),
    ],
)
def test_rewards_that_are_no_numbers_stop_with_step_and_answers(drpt, word, said):
    more = ("+reward.terms.letters={_target_: tests.app.rewards.ManyLetters, weight: 1.0, threshold: 0.4}",)
    folder = assert_failed(drpt, [*RLHF, word, *(more if "judges" in word else ())], "odd", "NonFiniteRewardError: ", said)
    assert "nan for '" in summary_of(folder)["error"] or "inf for '" in summary_of(folder)["error"]
    assert not curve(folder, "train/update_norm/mean")


def test_a_value_heads_gradient_counts_as_well(drpt):
    """Rewards of 1e17 have squared errors that are finite, and a gradient that AdamW would square to infinity."""
    words = (f"+reward.terms.odd={odd(1.0, 99, 1e17)}", "algorithm.value.coefficient=1e3", "algorithm.value.clip=null")
    assert_failed(drpt, [*RLHF, *words, "algorithm.kl.coefficient=0", "algorithm.kl.control=fixed"], "head",
                  "NonFiniteUpdateError: step 1: the update is too large for AdamW", "value_head.weight")  # fmt: skip


def test_rewards_that_are_all_alike_end_in_failure(drpt):
    words = ("+reward.terms.alike={_target_: tests.app.rewards.Alike, weight: 1.0}", "algorithm.kl_coefficient=0.0")
    words += ("algorithm.target.objective=token_pg", "~reward.terms.correct", "rollout.num_responses=2", "trainer.max_steps=2")
    tiny = [word for word in test_rlhf.SLOW if not word.startswith(("task=", "~reward", "+reward", "data=", "algorithm."))]
    assert_failed(drpt, ["task=rlvr", *tiny, *words], "alike", "VanishedUpdatesError: all 2 updates", "groups_with_signal")
