"""Which examples training sees: those whose answer, or whose prompt and room for an answer, lie within ``data.max_length``.

Asked while pools are drawn, so that sixteen target examples are sixteen that training sees.
"""

from collections.abc import Callable
from typing import Any

from drpt.data.chat import ChatEncoder, ChatTemplateError, LeftOut
from drpt.data.example import Example

# What counts of pools call the encoder's reasons; those that come of a length and of a missing answer are explained apart.
_NAMES = {"cut": "too_long", "empty": "no_answer"}
Unfit = Callable[[Example], str | None]


def unfit_to_imitate(tokenizer: Any, *, max_length: int) -> Unfit:  # Any: transformers has no types
    """For tasks that imitate responses.

    Args:
        tokenizer: With a chat template.
        max_length: Most tokens of a conversation.

    Returns:
        Why there is nothing to learn of an example; None where there is.
    """
    encoder = ChatEncoder(tokenizer, max_length=max_length)

    def unfit(example: Example) -> str | None:
        found = encoder.encode(example)
        return _NAMES.get(found.reason, found.reason) if isinstance(found, LeftOut) else None

    return unfit


def unfit_to_answer(tokenizer: Any, *, max_length: int, max_new_tokens: int) -> Unfit:  # Any: as above
    """For tasks that draw responses.

    Args:
        tokenizer: With a chat template.
        max_length: Most tokens of a prompt and its response.
        max_new_tokens: Room that a response needs.

    Returns:
        Why a prompt cannot be answered; None where it can.
    """
    encoder = ChatEncoder(tokenizer, max_length=max_length)

    def unfit(example: Example) -> str | None:
        try:
            length = len(encoder.encode_prompt(example).prompt_ids)
        except ChatTemplateError as error:
            return error.reason
        return None if 0 < length <= max_length - max_new_tokens else "too_long"

    return unfit
