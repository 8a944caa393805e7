"""Encoded conversations for tests, as numbers."""

from drpt.data.chat import EncodedExample
from drpt.data.example import Example, Message


def encoded(token_ids, loss_mask):
    messages = (Message(role="user", content="?"), Message(role="assistant", content="!"))
    return EncodedExample(
        example=Example(messages=messages, source="test"), token_ids=token_ids, loss_mask=loss_mask, prompt_ids=token_ids[:1]
    )
