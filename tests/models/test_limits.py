"""Tokens and positions beyond a model's tables are found before its weights are read."""

import pytest
import torch
from transformers import BertConfig, FalconMambaConfig, MptConfig, RobertaConfig

from drpt.models.limits import LimitError, check_positions, check_tokens, num_positions
from drpt.models.load import load_model
from drpt.models.spec import ModelSpec
from drpt.models.tiny import byte_tokenizer
from drpt.rewards.sequence_classifier import load_classifier
from tests.models.folders import VOCABULARY, gpt2, llama, opt, save, spec
from tests.rewards.classifiers import save as save_classifier


def scaled(**rope):
    return llama(rope_parameters={"rope_theta": 10000.0, **rope}).config


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        (gpt2().config, 64),
        (opt().config, 64),  # of 66 rows, the first two of which are no positions
        (llama().config, 256),
        (RobertaConfig(), 510),  # of 512 rows, the first two of which are for padding
        (BertConfig(), 512),
        (MptConfig(max_seq_len=96), 96),
        (FalconMambaConfig(), None),
        (scaled(rope_type="linear", factor=4.0), 1024),
        (scaled(rope_type="yarn", factor=4.0, original_max_position_embeddings=128), 512),
        (
            scaled(
                rope_type="llama3", factor=8.0, original_max_position_embeddings=64, low_freq_factor=1.0, high_freq_factor=4.0
            ),
            256,
        ),
    ],
)
def test_positions_are_known_from_the_configuration(config, positions):
    assert num_positions(config) == positions


@pytest.mark.parametrize("build", [gpt2, opt])
def test_a_learned_table_has_the_positions_that_its_configuration_says(build):
    model, positions = build().eval(), num_positions(build().config)
    with torch.no_grad():
        model(torch.ones(1, positions, dtype=torch.long))
        with pytest.raises(IndexError):
            model(torch.ones(1, positions + 1, dtype=torch.long))


@pytest.mark.parametrize("build", [gpt2, opt, lambda: llama(max_position_embeddings=64)])
def test_texts_longer_than_the_positions_are_refused_before_weights_are_read(tmp_path, build):
    save(tmp_path, build())
    load_model(spec(tmp_path), max_length=64)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(LimitError, match=r"^data\.max_length=65: model\.name=.* has 64 positions .* fewer than the 65 tokens"):
        load_model(spec(tmp_path), max_length=65)


def test_the_tiny_model_has_positions_too():
    tiny = ModelSpec(source="tiny", name=None, revision=None, chat_template="own", gradient_checkpointing=False)
    with pytest.raises(LimitError, match=r"^data\.max_length=2048: model=tiny has 1024 positions"):
        load_model(tiny, max_length=2048)


def test_models_without_a_limit_have_none():
    check_positions(FalconMambaConfig(), label="model=mamba", wanted=10**6, option="data.max_length=1000000")


def larger(*tokens, special=False, **roles):
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(list(tokens), special_tokens=special)
    tokenizer.add_special_tokens(roles)
    return tokenizer


@pytest.mark.parametrize(
    ("rows", "tokenizer", "match"),
    [
        (
            200,
            byte_tokenizer(),
            r"go up to 258, but the model has only 200 embeddings\. 56 ordinary tokens have none, such as",
        ),
        (VOCABULARY, larger("<think>", "</think>"), r"up to 260, .* has only 259 embeddings\. 2 ordinary .* '<think>' \(259\)"),
        (VOCABULARY, larger(pad_token="[PAD]"), r"up to 259, .* 259 embeddings\. It has none for pad_token '\[PAD\]' \(259\)"),
        (VOCABULARY, larger(eos_token="[END]"), r"259 embeddings\. It has none for eos_token '\[END\]' \(259\)"),
    ],
)
def test_a_tokenizer_larger_than_the_model_is_refused_before_weights_are_read(tmp_path, rows, tokenizer, match):
    save(tmp_path, llama(vocab_size=rows, eos_token_id=None), tokenizer=tokenizer)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(LimitError, match=rf"^model\.name=.*{match}"):
        load_model(spec(tmp_path))


def test_the_ways_out_of_a_pad_token_beyond_lead_out(tmp_path):
    tokenizer = larger(pad_token="[PAD]")
    model = llama()
    model.resize_token_embeddings(len(tokenizer))
    save(tmp_path / "resized", model, tokenizer=tokenizer)
    assert load_model(spec(tmp_path / "resized")).tokenizer.pad_token == "[PAD]"
    tokenizer.pad_token = None
    save(tmp_path / "without", llama(), tokenizer=tokenizer)
    loaded = load_model(spec(tmp_path / "without")).tokenizer
    assert loaded.pad_token_id == loaded.eos_token_id < VOCABULARY


def test_special_tokens_that_nobody_uses_are_reported(caplog):
    check_tokens(llama().config, larger("<image>", special=True), label="model.name=text")
    assert "only 259 embeddings. Special tokens without an embedding: 1 (<image>)" in caplog.text


def test_a_model_larger_than_its_tokenizer_is_as_it_should_be(caplog):
    check_tokens(llama(vocab_size=320).config, byte_tokenizer(), label="model.name=padded")
    assert not caplog.records


def test_a_classifier_with_too_large_a_tokenizer_is_refused(tmp_path):
    folder = save_classifier(tmp_path, {0: "good", 1: "bad"})
    byte_tokenizer().save_pretrained(folder)
    with pytest.raises(LimitError, match=r"^model=.*go up to 258, but the model has only 11 embeddings"):
        load_classifier(str(folder), revision=None, device="cpu", batch_size=2, max_length=16)
