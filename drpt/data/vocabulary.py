"""Whether examples hold tokens that the model has no embeddings for: found out before training, not in the middle of it."""

from collections.abc import Iterable

from drpt.data.chat import EncodedExample


class UnknownTokenError(ValueError):
    """An example holds a token beyond the model's embeddings."""


def check_token_ids(examples: Iterable[EncodedExample], *, num_tokens: int) -> None:
    """Look at every token of prompts and responses.

    Args:
        examples: Encoded conversations.
        num_tokens: Rows of the model's input embeddings.

    Raises:
        UnknownTokenError: A token's number is not below; the message names the example and both numbers.
    """
    for row in examples:
        largest = max((*row.token_ids, *row.prompt_ids), default=0)
        if largest >= num_tokens:
            raise UnknownTokenError(
                f"{row.example.source}: holds token {largest}, and the model has {num_tokens} embeddings. Its text has a "
                "special token of the tokenizer's that the model was made without: take it out of the text, or resize the "
                "model (model.resize_token_embeddings)."
            )
