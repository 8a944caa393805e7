"""Tokens that a model has no embeddings for are found in the examples that hold them."""

import dataclasses

import pytest

from drpt.data.chat import encode_examples
from drpt.data.example import Example, Message
from drpt.data.vocabulary import UnknownTokenError, check_token_ids
from drpt.models.tiny import byte_tokenizer


def encoded(*texts):
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    examples = [
        Example(
            messages=(Message(role="user", content=text), Message(role="assistant", content="yes")), source=f"file:{number}"
        )
        for number, text in enumerate(texts)
    ]
    return encode_examples(tokenizer, examples, max_length=100).examples


def test_a_token_beyond_the_embeddings_is_found_in_its_example():
    rows = encoded("plain", "an <image>")
    check_token_ids(rows, num_tokens=260)
    check_token_ids(rows[:1], num_tokens=259)
    with pytest.raises(UnknownTokenError, match=r"^file:1: contains token 259, but the model has 259 embeddings"):
        check_token_ids(rows, num_tokens=259)


def test_prompts_count_beyond_the_length_that_is_trained_on():
    (row,) = encoded("an <image>")
    row = dataclasses.replace(row, token_ids=row.token_ids[:4])  # as an earlier turn, when the later ones were cut off
    with pytest.raises(UnknownTokenError):
        check_token_ids([row], num_tokens=259)
