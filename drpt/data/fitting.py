"""Which examples training sees: those with something to learn, or with room for an answer, within ``data.max_length``.

Asked while pools are drawn, so that sixteen target examples are sixteen that training sees.
"""

from collections.abc import Mapping
from typing import Any

from drpt.data.chat import ChatEncoder, ChatTemplateError, LeftOut
from drpt.data.example import Example
from drpt.models.chat_renderer import SOME_DAY, ChatStyle

# What counts of pools call the encoder's reasons; those that come of a length and of a missing answer are explained apart.
_NAMES = {"cut": "too_long", "empty": "no_answer"}


class Fitting:
    """Why training would not see an example; remembers what was said of the first one of each reason.

    The date that a template may ask for is always the same here, so that the same examples are drawn on another day.

    Args:
        tokenizer: With a chat template.
        max_length: Most tokens of a conversation.
        max_new_tokens: Room that a response needs, of tasks that draw responses; None: responses are imitated.
        options: ``model.chat_template_kwargs``.
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
        self.words: dict[str, str] = {}  # by reason: where the first example is, and what is wrong with it

    def __call__(self, example: Example) -> str | None:
        """The reason, a word: ``too_long``, ``no_answer``, or one of `drpt.data.chat.LEFT_OUT`; None where it is seen."""
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
