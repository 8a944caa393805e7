"""Decides which examples fit into ``data.max_length``: those with something to learn, or with room for a response.

Pools are drawn with it, so that ``data.num_target=16`` means sixteen usable target examples.
"""

from collections.abc import Mapping
from typing import Any

from drpt.data.chat import ChatEncoder, ChatTemplateError, LeftOut
from drpt.data.example import Example
from drpt.models.chat_renderer import SOME_DAY, ChatStyle

# Names of the encoder's reasons in the counts of pools, for those that have their own messages there.
_NAMES = {"cut": "too_long", "empty": "no_answer"}


class Fitting:
    """Says why an example cannot be used, and keeps the message for the first example of each reason.

    Templates that ask for today's date always get the same one here, so that the choice of examples does not depend on the day.

    Args:
        tokenizer: Tokenizer of transformers that has a chat template.
        max_length: Largest number of tokens in a conversation.
        max_new_tokens: Number of tokens reserved for a sampled response; None = the task imitates the data's responses.
        options: Value of ``model.chat_template_kwargs``.
    """

    def __init__(
        self,
        tokenizer: Any,  # Any: transformers has no types
        *,
        max_length: int,
        max_new_tokens: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        style = ChatStyle(date=SOME_DAY, options=options or {})
        self._encoder = ChatEncoder(tokenizer, max_length=max_length, style=style)
        self._longest_prompt = None if max_new_tokens is None else max_length - max_new_tokens
        self.words: dict[str, str] = {}  # place of the first example and what is wrong with it, by reason

    def __call__(self, example: Example) -> str | None:
        """Reason: ``too_long``, ``no_answer``, or a key of `drpt.data.chat.LEFT_OUT`; None if the example can be used."""
        reason, words = self._imitated(example) if self._longest_prompt is None else self._answered(example)
        if reason is not None:
            self.words.setdefault(reason, f"{example.source}: {words}")
        return reason

    def _imitated(self, example: Example) -> tuple[str | None, str]:
        found = self._encoder.encode(example)
        return (_NAMES.get(found.reason, found.reason), found.words) if isinstance(found, LeftOut) else (None, "")

    def _answered(self, example: Example) -> tuple[str | None, str]:
        assert self._longest_prompt is not None
        try:
            length = len(self._encoder.encode_prompt(example).prompt_ids)
        except ChatTemplateError as error:
            return error.reason, str(error)
        return (None, "") if 0 < length <= self._longest_prompt else ("too_long", f"its prompt has {length} tokens")
