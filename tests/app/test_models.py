"""`drpt train` on models and adapters in folders: continued, merged, resumed, and refused before training."""

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model

from drpt.analysis.point_settings import settings_of
from drpt.analysis.run import read_run
from drpt.app.compose import compose_run
from drpt.app.config import check_config, plain_config
from drpt.metrics import read_metrics
from drpt.models.tiny import byte_tokenizer, tiny_model
from drpt.modules.checkpoints import Checkpoints
from drpt.run_identity import job_name
from tests.app.conftest import TINY
from tests.models.folders import VOCABULARY, gpt2, llama, save

HUB = ("model=hub", "model.name=model", "data.max_length=224")
RL = (
    *("task=rlvr", "rollout.num_prompts=2", "rollout.num_responses=2", "rollout.max_tokens=4"),
    "regularizer=mix",  # rewards are all alike: general responses alone would change nothing
    *("evaluation.pass_k=1", "~reward.terms.correct", "trainer.max_steps=2", "trainer.checkpoint_every_steps=1"),
    "+reward.terms.letters={_target_: tests.app.rewards.ManyLetters, weight: 1.0, threshold: 0.4}",
)


@pytest.fixture
def places(drpt, tmp_path):
    """In the folder where `drpt` runs: a model, and an adapter of it that changes what it says."""
    model = tiny_model()
    model.save_pretrained(tmp_path / "model")
    byte_tokenizer().save_pretrained(tmp_path / "model")
    config = LoraConfig(r=3, lora_alpha=9, target_modules=["q_proj", "up_proj"], task_type=TaskType.CAUSAL_LM)
    wrapped = get_peft_model(model, config)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    wrapped.save_pretrained(tmp_path / "adapter")
    byte_tokenizer().save_pretrained(tmp_path / "adapter")
    return tmp_path


def only_run(sweep):
    (folder,) = (path.parent for path in Path("runs", sweep).glob("*/summary.json"))
    return folder


def figures(folder):
    """Everything measured that does not depend on the clock or the machine's memory."""
    lines = read_metrics(folder / "metrics.jsonl")
    clock = ("second", "memory")
    return [(line["step"], line["name"], line["value"]) for line in lines if not any(word in line["name"] for word in clock)]


def first_loss(folder):
    return next(value for step, name, value in figures(folder) if (step, name) == (0, "target/loss/mean"))


def test_a_run_begins_with_its_adapter_whichever_way(drpt, places):
    losses = {}
    ways = {
        "none": ("finetune=lora",),
        "continue": ("finetune=lora", "finetune.adapter=adapter"),
        "full": ("finetune=full", "finetune.adapter=adapter"),
    }
    for way, words in ways.items():
        status, text = drpt("train", *TINY, *HUB, *words, "trainer.max_steps=1", "evaluation.num_generate=0", f"sweep={way}")
        assert status == 0, text
        losses[way] = first_loss(only_run(way))
    assert abs(losses["continue"] - losses["none"]) > 1e-3
    assert losses["full"] == pytest.approx(losses["continue"], rel=1e-5)  # W x + s B A x is rounded otherwise than one product
    trained = json.loads((only_run("continue") / "summary.json").read_text())["num_trained_parameters"]
    # A run without an adapter has the settings that it had before there were adapters.
    assert not [key for key in settings_of(read_run(only_run("none"))) if "adapter" in key]
    assert settings_of(read_run(only_run("full")))["finetune.adapter"] == "adapter"
    assert trained == 2 * (3 * (64 + 64) + 3 * (64 + 96))


@pytest.mark.parametrize("use", ["continue", pytest.param("merge", marks=pytest.mark.long)])
def test_a_run_with_an_adapter_goes_on_as_if_it_had_never_stopped(drpt, places, monkeypatch, use):
    words = (*TINY, *HUB, "finetune=lora", "finetune.adapter=adapter", f"finetune.adapter_use={use}", "finetune.dropout=0.1")
    words = (*words, "trainer.max_steps=4", "evaluation.num_generate=0")
    status, text = drpt("train", *words, "sweep=whole")
    assert status == 0, text
    saved = Checkpoints.on_train_batch_end

    def stop(self, trainer, module, *rest):
        saved(self, trainer, module, *rest)
        if trainer.global_step == 3:  # after the checkpoint of step 2
            raise RuntimeError("the power went out")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "on_train_batch_end", stop)
        status, text = drpt("train", *words, "sweep=broken")
        assert status == 1
        assert "the power went out" in text
    status, text = drpt("resume", "runs/broken")
    assert status == 0, text
    assert "resumes after step 2" in text
    assert figures(only_run("broken")) == figures(only_run("whole"))


@pytest.mark.parametrize(
    ("use", "engine"),
    [
        ("continue", "transformers"),
        pytest.param("merge", "transformers", marks=pytest.mark.long),
        pytest.param("continue", "vllm", marks=[pytest.mark.long, pytest.mark.vllm]),
        pytest.param("merge", "vllm", marks=[pytest.mark.long, pytest.mark.vllm]),
    ],
)
def test_a_policy_with_an_adapter_answers_with_it(drpt, places, use, engine):
    words = ("finetune=lora", "finetune.adapter=adapter", f"finetune.adapter_use={use}")
    status, text = drpt("train", *TINY, *HUB, *RL, *words, f"rollout={engine}", "rollout.kv_cache_mib=32", "sweep=policy")
    assert status == 0, text
    # The engine's log-probs are those of the policy that is trained.
    differences = [value for _, name, value in figures(only_run("policy")) if name.startswith("rollout/mismatch")]
    assert differences
    assert max(map(abs, differences)) < 1e-3


REFUSED = {
    "an adapter as a model": (("model.name=adapter", "finetune=lora"), r"model.name=adapter: the folder contains an adapter"),
    "another rank than the adapter's": (
        ("finetune=lora", "finetune.adapter=adapter", "finetune.rank=8"),
        "finetune.rank=8: the adapter in adapter has 3",
    ),
    "no adapter": (("finetune=lora", "finetune.adapter=model"), "finetune.adapter=model: there is no adapter_config.json"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_folders_are_looked_at_before_anything_is_loaded(drpt, places, case):
    words, message = REFUSED[case]
    for flags in ((), ("-m", "seed=0,1")):
        status, text = drpt("train", *flags, *TINY, *HUB, *words, "sweep=refused")
        assert status == 2, text
        assert message in text
        assert not Path("runs").exists()


def larger_tokenizer():
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    return tokenizer


TOO_LATE = {
    "fewer positions than texts": (gpt2, {}, (), "data.max_length=224: model.name=here has 64 positions"),
    "fewer positions than a rollout": (
        lambda: gpt2(n_positions=192),
        {},
        (*RL, "rollout=transformers", "finetune=lora"),
        "data.max_length=224: model.name=here has 192 positions",
    ),
    "fewer positions than an answer of an evaluation": (
        lambda: llama(max_position_embeddings=224),
        {},
        ("evaluation.max_new_tokens=200",),
        r"model=here has 224 positions",
    ),
    "a tokenizer larger than the model": (
        lambda: llama(vocab_size=250),
        {},
        (),
        "ids go up to 258, but the model has only 250 embeddings",
    ),
    "a pad token alone beyond": (
        llama,
        {"tokenizer": larger_tokenizer()},
        (),
        "go up to 259, but the model has only 259 embeddings. It has none for pad_token",
    ),
    "weights with a wrapper's prefix": (
        llama,
        {"weights": lambda state: {f"_orig_mod.{name}": value for name, value in state.items()}},
        (),
        "lack 21 of its weights",
    ),
}


@pytest.mark.parametrize("case", TOO_LATE)
def test_what_a_model_cannot_do_is_known_before_the_first_step(drpt, tmp_path, case):
    build, changes, words, message = TOO_LATE[case]
    save(tmp_path / "here", build(), **changes)
    status, text = drpt("train", *TINY, "model=hub", "model.name=here", "data.max_length=224", *words, "sweep=late")
    assert status == 1, text
    assert message in text
    assert "Traceback" not in text
    assert not (only_run("late") / "metrics.jsonl").exists() or not figures(only_run("late"))


def test_a_special_token_in_a_text_is_found_before_the_first_step(drpt, tmp_path):
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    save(tmp_path / "here", llama(), tokenizer=tokenizer)
    for name in ("general", "target"):
        lines = [
            {"prompt": f"{name} {i}", "response": "an <image>" if (name, i) == ("general", 7) else "yes"} for i in range(40)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    data = ("data=jsonl", "data.source.general=general.jsonl", "data.source.target=target.jsonl", "data.num_target=8")
    words = [word for word in TINY if "data.source" not in word and "num_general" not in word]
    status, text = drpt("train", *words, *data, "model=hub", "model.name=here", "data.max_length=64", "sweep=token")
    assert status == 1, text
    assert f"contains token 259, but the model has {VOCABULARY} embeddings" in text


def test_new_keys_leave_old_runs_what_they_were():
    def name(*overrides):
        return job_name(plain_config(compose_run(["sweep=test", "finetune=lora", *overrides])))

    assert name() == name("finetune.adapter=null", "finetune.adapter_use=null")
    assert len({name(), name("finetune.adapter=a"), name("finetune.adapter=a", "finetune.adapter_use=merge")}) == 3


def test_defaults_of_new_adapters_are_not_those_of_continued_ones():
    def found(*overrides):
        spec = check_config(compose_run(["sweep=test", "finetune=lora", *overrides])).finetune
        return spec.rank, spec.alpha

    assert found() == found("finetune.adapter=a", "finetune.adapter_use=merge") == (8, 16.0)
    assert found("finetune.adapter=a") == found("finetune.adapter=a", "finetune.adapter_use=continue") == (None, None)
    assert found("finetune.adapter=a", "finetune.rank=4") == (4, None)
