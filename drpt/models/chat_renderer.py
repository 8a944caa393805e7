"""Conversations as the text that a tokenizer's chat template makes of them: the one place that calls templates."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

# Turns and schemas of tools, as templates take them. Any: JSON values.
Turn = Mapping[str, Any]

_MARKER = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
# Stands for a text whose place is looked for: letters and digits, which no template changes.
PROBE = "Qz7answer7zQ"
# For measuring lengths of conversations that do not depend on the day: a date that is long in words and numbers.
SOME_DAY = datetime(2027, 9, 29, 22, 48)  # a Wednesday in September
# By which names templates read the assistant's thoughts, the usual one first.
_THOUGHTS = ("reasoning_content", "thinking", "reasoning")


class ChatTemplateError(ValueError):
    """The template cannot be used for an example; the message says why and what to do.

    Args:
        words: The message.
        reason: Why, in one word: one of `drpt.data.chat.LEFT_OUT`.
    """

    def __init__(self, words: str, reason: str = "refused") -> None:
        super().__init__(words)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class ChatStyle:
    """What a template is told besides the conversation, the same for a whole run."""

    date: datetime | None = None  # what templates that ask for today's date are given; None: the clock's
    options: Mapping[str, Any] = field(default_factory=dict)  # model.chat_template_kwargs; Any: each template has its own


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfTurn:
    """What ends an answer, in characters after its own text."""

    length: int
    first_length: int  # up to the end of the first special token alone
    token: str  # the first special token, at which generation stops; empty where there is none


class ChatRenderer:
    """A tokenizer's template under one style.

    Args:
        tokenizer: Tokenizer of transformers that has a chat template.
        style: The date and options of the run.
    """

    def __init__(self, tokenizer: Any, style: ChatStyle) -> None:  # Any: transformers has no types
        self.tokenizer = tokenizer
        # By whether there are tools: a tokenizer may have a template of its own for them.
        self._templates: dict[bool, str] = {}
        self._wants_parts: dict[bool, bool] = {}
        self._given: dict[str, Any] = dict(style.options)
        if style.date is not None:
            self._given["strftime_now"] = style.date.strftime

    @cached_property
    def _ends(self) -> re.Pattern[str]:
        added = {token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special}
        known = sorted(added | set(self.tokenizer.all_special_tokens), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, known)) or r"(?!)")

    def end_of_turn(self, tail: str) -> EndOfTurn:
        """How much of the text after an answer belongs to it.

        Args:
            tail: What the template writes after the assistant's own text.

        Returns:
            Up to the end of the first special token and of those that follow at once, if nothing else follows (which would
            be another turn that one of them begins); without one, all but the white space at the end.
        """
        first = self._ends.search(tail)
        if first is None:
            return EndOfTurn(length=len(tail.rstrip()), first_length=len(tail.rstrip()), token="")
        stop = first.end()
        while (next_one := self._ends.match(tail, stop)) is not None:
            stop = next_one.end()
        if tail[stop:].strip():
            stop = first.end()
        return EndOfTurn(length=stop, first_length=first.end(), token=first.group())

    def last_special(self, text: str) -> str:
        """The special token that a text ends with; empty where it ends otherwise."""
        found = [match for match in self._ends.finditer(text) if match.end() == len(text)]
        return found[0].group() if found else ""

    def last_start(self, text: str) -> int:
        """Where the last special token of a text begins; -1 where it has none."""
        return max((match.start() for match in self._ends.finditer(text)), default=-1)

    def template(self, tools: Sequence[Turn]) -> str:
        """The Jinja text that is used for conversations with these tools."""
        if bool(tools) not in self._templates:
            self._templates[bool(tools)] = self.tokenizer.get_chat_template(None, _plain(tools))
        return self._templates[bool(tools)]

    def has_markers(self, tools: Sequence[Turn]) -> bool:
        """Whether the template itself says which text is the assistant's, by ``{% generation %}``."""
        return _MARKER.search(self.template(tools)) is not None

    def names_role(self, role: str, tools: Sequence[Turn]) -> bool:
        """Whether the template speaks of a role by its name."""
        return role in self.template(tools)

    def thoughts_key(self, tools: Sequence[Turn]) -> str:
        """The field of a turn from which the template reads the assistant's thoughts."""
        text = self.template(tools)
        for key in _THOUGHTS:
            if re.search(rf"(\.|\[\s*['\"]|get\(\s*['\"]|['\"]){key}\b", text):
                return key
        return _THOUGHTS[0]

    def wants_parts(self, tools: Sequence[Turn]) -> bool:
        """Whether the template writes a content as a list of parts alone (``[{"type": "text", …}]``), not as a text."""
        if bool(tools) not in self._wants_parts:
            parts = [{"type": "text", "text": PROBE}]
            is_written = [self._writes({"role": "user", "content": content}, tools) for content in (PROBE, parts)]
            self._wants_parts[bool(tools)] = is_written == [False, True]
        return self._wants_parts[bool(tools)]

    def _writes(self, turn: Turn, tools: Sequence[Turn]) -> bool:
        try:
            return PROBE in self.render([turn], tools, is_prompt=True)
        except Exception:  # of whatever the template does not take
            return False

    def render(self, turns: Sequence[Turn], tools: Sequence[Turn], *, is_prompt: bool) -> str:
        """The text of a conversation.

        Args:
            turns: As `drpt.data.example.Message.as_template_turn` gives them.
            tools: JSON schemas.
            is_prompt: Whether the assistant is to answer (``add_generation_prompt``).

        Returns:
            The template's text. Whatever a template raises comes through.
        """
        return str(
            self.tokenizer.apply_chat_template(
                list(turns),
                tools=_plain(tools),
                tokenize=False,
                add_generation_prompt=is_prompt,
                **self._given,
            )
        )

    def render_marked(self, turns: Sequence[Turn], tools: Sequence[Turn]) -> tuple[str, list[tuple[int, int]]]:
        """The text of a conversation, and what of it the template marks as the assistant's.

        Args:
            turns: See `render`.
            tools: JSON schemas.

        Returns:
            The text, and places of characters [start, stop) in order.
        """
        from transformers.utils.chat_template_utils import render_jinja_template

        texts, places = render_jinja_template(
            conversations=[list(turns)],
            tools=_plain(tools),
            chat_template=self.template(tools),
            return_assistant_tokens_mask=True,
            add_generation_prompt=False,
            **(dict(self.tokenizer.special_tokens_map) | self._given),
        )
        return str(texts[0]), [(int(start), int(stop)) for start, stop in places[0]]


def _plain(tools: Sequence[Turn]) -> list[dict[str, Any]] | None:
    return [dict(tool) for tool in tools] or None
