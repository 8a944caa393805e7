"""A model has the weights of its file, every one of them, or is refused with a list."""

import logging
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MixtralConfig,
    MixtralForCausalLM,
)

from drpt.models.load import load_model
from drpt.models.pretrained import LoadingError, load_pretrained
from drpt.rewards.sequence_classifier import load_classifier
from drpt.rollouts.errors import RolloutError
from drpt.rollouts.transformers_engine import TransformersRollout
from tests.models.folders import SIZES, VOCABULARY, gpt2, llama, save, spec

BERT = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


def with_prefix(prefix):
    return lambda state: {prefix + name: value for name, value in state.items()}


def without(*parts):
    return lambda state: {name: value for name, value in state.items() if not any(part in name for part in parts)}


def with_more(**more):
    return lambda state: state | {name.replace("__", "."): value for name, value in more.items()}


def classifier():
    torch.manual_seed(1)
    return LlamaForSequenceClassification(LlamaConfig(vocab_size=VOCABULARY, num_labels=3, pad_token_id=0, **SIZES))


def mixtral():
    torch.manual_seed(1)
    return MixtralForCausalLM(MixtralConfig(vocab_size=VOCABULARY, num_local_experts=3, **SIZES))


def headless():
    return BertModel(BertConfig(**BERT))


SPOILED = {
    "peft's prefix": (
        llama,
        {"weights": with_prefix("base_model.model.")},
        r"begin with 'base_model\.model\.', the prefix of a wrapper",
    ),
    "a compiled model's prefix": (
        llama,
        {"weights": with_prefix("_orig_mod.")},
        r"begin with '_orig_mod\.', the prefix of a wrapper",
    ),
    "DDP's prefix, tied": (
        lambda: llama(tie_word_embeddings=True),
        {"weights": with_prefix("module.")},
        r"begin with 'module\.', the prefix of a wrapper",
    ),
    "a missing layer": (llama, {"config": {"num_hidden_layers": 3}}, r"lack 9 of its weights \(model\.layers\.2\.input_layern"),
    "one missing weight": (llama, {"weights": without("1.mlp.up_proj")}, r"lack 1 of its weights \(model\.layers\.1\.mlp\.up"),
    "a missing untied head": (
        llama,
        {"weights": without("lm_head")},
        r"lack 1 .*\(lm_head\.weight\).* saved as a LlamaForCaus",
    ),
    "a layer too many": (
        llama,
        {"config": {"num_hidden_layers": 1}},
        r"contain 9 that the model does not have \(model\.layers\.1\.",
    ),
    "a value head": (
        llama,
        {"weights": with_more(v_head__summary__weight=torch.zeros(1, 32))},
        r"contain 1 .*v_head.* another head",
    ),
    "an adapter inside": (
        llama,
        {"weights": with_more(model__layers__0__self_attn__q_proj__lora_A__weight=torch.zeros(2, 32))},
        r"contain 1 .*finetune\.adapter",
    ),
    "another vocabulary": (
        llama,
        {"config": {"vocab_size": 300}},
        r"another shape \(lm_head\.weight \(259, 32\) for \(300, 32\)",
    ),
    "a classifier": (classifier, {}, r"lack 1 .*\(lm_head\.weight\).*contain 1 .*\(score\.weight\).* another head or none"),
    "an encoder": (headless, {}, r"BertLMHeadModel.*lack 6 of its weights \(cls\.predictions"),
    "a missing expert": (
        mixtral,
        {"weights": without("layers.1.block_sparse_moe.experts.2.")},
        r"contain 2 of another shape \(model\.layers\.1\.mlp\.experts\.down_proj \(2, 32, 48\) for \(3",
    ),
    "a part of an expert missing": (
        mixtral,
        {"weights": without("layers.1.block_sparse_moe.experts.2.w1")},
        r"experts of a layer",
    ),
    "weights that are no numbers": (
        llama,
        {"weights": lambda state: state | {"model.norm.weight": torch.full((32,), torch.nan)}},
        r"32 of the 32 numbers of model\.norm\.weight are not finite",
    ),
    "two heads where one is tied": (
        lambda: llama(tie_word_embeddings=True),
        {"weights": with_more(lm_head__weight=torch.ones(VOCABULARY, 32))},
        r"lm_head\.weight and model\.embed_tokens\.weight are tied in config\.json, but .* different values",
    ),
}


@pytest.mark.parametrize("case", SPOILED)
def test_other_weights_than_the_models_are_listed(tmp_path, case):
    build, changes, match = SPOILED[case]
    save(tmp_path, build(), **changes)
    with pytest.raises(LoadingError, match=rf"^model\.name={tmp_path}: .*{match}"):
        load_model(spec(tmp_path))


def test_an_encoder_with_all_weights_sees_what_it_would_predict(tmp_path):
    save(tmp_path, BertForMaskedLM(BertConfig(**BERT)))
    with pytest.raises(
        ValueError, match=r"^model\.name=.*: BertLMHeadModel is not a causal language model: .* last token changes"
    ):
        load_model(spec(tmp_path))


def torn(folder):
    file = sorted(folder.glob("*.safetensors"))[-1]
    file.write_bytes(file.read_bytes()[:-50])
    return rf"{file.name} is truncated or damaged"


def emptied(folder):
    file = sorted(folder.glob("*.safetensors"))[0]
    file.write_bytes(b"")
    return rf"{file.name} is truncated or damaged"


def taken_away(folder):
    file = sorted(folder.glob("*.safetensors"))[1]
    file.unlink()
    return rf"cannot be loaded \(.*{file.name}"


def lacking(folder):
    file = sorted(folder.glob("*.safetensors"))[1]
    state = load_file(file)
    name = min(state)
    del state[name]
    save_file(state, file, {"format": "pt"})
    return rf"lack 1 of its weights \({name}\)"


@pytest.mark.parametrize(
    ("spoil", "shard_size"),
    [(torn, "1GB"), (emptied, "1GB"), (torn, "20KB"), (emptied, "20KB"), (taken_away, "20KB"), (lacking, "20KB")],
)
def test_torn_and_missing_files_are_named(tmp_path, spoil, shard_size):
    save(tmp_path, llama(), max_shard_size=shard_size)
    with pytest.raises(ValueError, match=spoil(tmp_path)):
        load_model(spec(tmp_path))


@pytest.mark.parametrize(
    ("build", "weights"),
    [
        (lambda: llama(tie_word_embeddings=True), None),  # the head is tied, and stored once
        (llama, with_more(model__layers__0__self_attn__rotary_emb__inv_freq=torch.zeros(8))),
        (gpt2, with_more(transformer__h__0__attn__bias=torch.ones(1, 1, 64, 64))),
        (gpt2, with_more(h__1__attn__masked_bias=torch.tensor(-1e4))),
    ],
)
def test_what_a_model_needs_no_more_is_passed_over(tmp_path, build, weights):
    model = build().eval()
    save(tmp_path, model, weights=weights)
    loaded = load_model(spec(tmp_path)).model
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits, model(ids).logits)


def test_a_language_model_is_no_classifier(tmp_path):
    save(tmp_path, llama(pad_token_id=0))
    options = {"revision": None, "device": "cpu", "batch_size": 2, "max_length": 16}
    with pytest.raises(
        LoadingError, match=r"lack 1 .*\(score\.weight\).*contain 1 .*\(lm_head\.weight\).*LlamaForSequenceClassif"
    ):
        load_classifier(str(tmp_path), **options)


def test_a_classifiers_pooler_is_passed_over_where_it_is_named(tmp_path):
    save(tmp_path, classifier(), weights=with_more(pooler__dense__weight=torch.zeros(2, 2)))
    options = {"label": "model=mine", "seed": 0}
    with pytest.raises(LoadingError, match=r"pooler\.dense\.weight"):
        load_pretrained(AutoModelForSequenceClassification, tmp_path, **options)
    load_pretrained(AutoModelForSequenceClassification, tmp_path, superfluous=[r"(^|\.)pooler\."], **options)


def test_an_engine_is_not_built_from_half_a_model(tmp_path):
    save(tmp_path, llama(), weights=without("lm_head"))
    with pytest.raises(RolloutError, match=r"^rollout=transformers: .* lack 1 of its weights \(lm_head"):
        TransformersRollout(model_folder=tmp_path, dtype="float32", max_model_len=32, device=torch.device("cpu"))


def test_an_engine_has_positions_for_its_texts(tmp_path):
    save(tmp_path, gpt2())
    with pytest.raises(RolloutError, match=r"^max_model_len=65: rollout=transformers: .* has 64 positions"):
        TransformersRollout(model_folder=tmp_path, dtype="float32", max_model_len=65, device=torch.device("cpu"))


def test_an_adapter_on_the_hub_is_refused(monkeypatch):
    monkeypatch.setattr("transformers.utils.peft_utils.find_adapter_config_file", lambda *_, **__: "adapter_config.json")
    for name, load in {
        "model.name": lambda: load_model(spec("no/such-adapter")),
        "model": lambda: load_classifier("no/such-adapter", revision=None, device="cpu", batch_size=2, max_length=16),
    }.items():
        with pytest.raises(LoadingError, match=rf"^{name}=no/such-adapter: this is an adapter"):
            load()


_DRAWING = """
import sys, torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM
from drpt.models.pretrained import load_pretrained
LlamaForCausalLM._keys_to_ignore_on_load_missing = ["lm_head"]
torch.manual_seed(int(sys.argv[3]))
model = load_pretrained(AutoModelForCausalLM, sys.argv[1], label="model", seed=int(sys.argv[2]))
print(model.lm_head.weight.double().sum().item())
"""


@pytest.mark.long
def test_what_transformers_lets_be_drawn_is_drawn_by_the_seed(tmp_path):
    save(tmp_path, llama(), weights=without("lm_head"))

    def drawn(seed, state):
        command = [sys.executable, "-c", _DRAWING, str(tmp_path), str(seed), str(state)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert drawn(1, 5) == drawn(1, 6)  # two processes in different random states


def test_a_seed_decides_and_random_states_stay(tmp_path, monkeypatch):
    save(tmp_path, llama(), weights=without("lm_head"))
    monkeypatch.setattr(LlamaForCausalLM, "_keys_to_ignore_on_load_missing", ["lm_head"])
    heads = []
    for state, seed in ((5, 1), (6, 1), (7, 2)):
        torch.manual_seed(state)
        before = torch.get_rng_state()
        heads.append(load_model(spec(tmp_path), seed=seed).model.lm_head.weight)
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_a_loaded_model_is_not_talked_about(tmp_path, caplog):
    save(tmp_path, llama(), weights=without("lm_head"))
    with caplog.at_level(logging.WARNING), pytest.raises(LoadingError):
        load_pretrained(AutoModelForCausalLM, tmp_path, label="model", seed=0)
    assert not caplog.records
