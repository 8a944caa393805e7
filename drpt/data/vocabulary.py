"""Checks, before training, that the model has an embedding for every token of the examples."""

from collections.abc import Iterable

from drpt.data.chat import EncodedExample


class UnknownTokenError(ValueError):
    """An example contains a token for which the model has no embedding."""


def check_token_ids(examples: Iterable[EncodedExample], *, num_tokens: int) -> None:
    """Check every token of prompts and responses.

    Args:
        examples: Encoded conversations.
        num_tokens: Number of rows of the model's input embeddings.

    Raises:
        UnknownTokenError: A token id is not smaller; the message names the example and both numbers.
    """
    for row in examples:
        largest = max((*row.token_ids, *row.prompt_ids), default=0)
        if largest >= num_tokens:
            raise UnknownTokenError(
                f"{row.example.source}: contains token {largest}, but the model has {num_tokens} embeddings. The text contains "
                "a special token of the tokenizer that the model does not have: remove it from the text, or resize the model "
                "(model.resize_token_embeddings)."
            )
