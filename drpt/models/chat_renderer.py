"""Renders conversations to text by the tokenizer's chat template; the only module that calls chat templates."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

# A turn or the schema of a tool, in the form that templates take. Any: JSON values.
Turn = Mapping[str, Any]

_MARKER = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
# Placeholder whose position in a rendering is looked up: letters and digits, which no template changes.
PROBE = "Qz7answer7zQ"
# Fixed date, so that the lengths of conversations do not depend on the day; long in words and in digits.
SOME_DAY = datetime(2027, 9, 29, 22, 48)  # a Wednesday in September
# Names under which templates read the assistant's reasoning, the usual one first.
_THOUGHTS = ("reasoning_content", "thinking", "reasoning")


class ChatTemplateError(ValueError):
    """The template cannot be used for an example; the message says why and what to do.

    Args:
        message: Message of the error.
        reason: Kind of the problem, a key of `drpt.data.chat.LEFT_OUT`.
    """

    def __init__(self, message: str, reason: str = "refused") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class ChatStyle:
    """Inputs of a template besides the conversation, the same for a whole run."""

    date: datetime | None = None  # date given to templates that ask for today's; None = the current date
    options: Mapping[str, Any] = field(default_factory=dict)  # model.chat_template_kwargs; Any: each template has its own


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfTurn:
    """Text that ends an answer."""

    length: int  # characters after the answer's own text that belong to its end
    first_length: int  # characters up to the end of the first special token
    token: str  # first special token, at which generation stops; empty if there is none


class ChatRenderer:
    """A tokenizer's chat template with the date and options of a run.

    Args:
        tokenizer: Tokenizer of transformers that has a chat template.
        style: Date and options of the run.
    """

    def __init__(self, tokenizer: Any, style: ChatStyle) -> None:  # Any: transformers has no types
        self.tokenizer = tokenizer
        # Keyed by whether there are tools, for which a tokenizer may have a template of its own.
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
        """Determine how much of the text after an answer belongs to the answer.

        Args:
            tail: Text that the template writes after the assistant's own text.

        Returns:
            The end of the turn: the text up to the first special token. Special tokens that follow directly are included if
            nothing comes after them; otherwise one of them begins another turn. Without any special token, the whole text
            except trailing white space.
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
        """The special token with which a text ends; empty if it does not end with one."""
        found = [match for match in self._ends.finditer(text) if match.end() == len(text)]
        return found[0].group() if found else ""

    def last_start(self, text: str) -> int:
        """Start of the last special token of a text; -1 if it has none."""
        return max((match.start() for match in self._ends.finditer(text)), default=-1)

    def template(self, tools: Sequence[Turn]) -> str:
        """The Jinja template for conversations with these tools."""
        if bool(tools) not in self._templates:
            self._templates[bool(tools)] = self.tokenizer.get_chat_template(None, _plain(tools))
        return self._templates[bool(tools)]

    def has_markers(self, tools: Sequence[Turn]) -> bool:
        """Whether the template marks the assistant's text with ``{% generation %}``."""
        return _MARKER.search(self.template(tools)) is not None

    def names_role(self, role: str, tools: Sequence[Turn]) -> bool:
        """Whether the template mentions a role by its name."""
        return role in self.template(tools)

    def thoughts_key(self, tools: Sequence[Turn]) -> str:
        """The field of a turn from which the template reads the assistant's reasoning."""
        text = self.template(tools)
        for key in _THOUGHTS:
            if re.search(rf"(\.|\[\s*['\"]|get\(\s*['\"]|['\"]){key}\b", text):
                return key
        return _THOUGHTS[0]

    def wants_parts(self, tools: Sequence[Turn]) -> bool:
        """Whether the template accepts contents only as lists of parts (``[{"type": "text", …}]``), not as texts."""
        if bool(tools) not in self._wants_parts:
            parts = [{"type": "text", "text": PROBE}]
            is_written = [self._writes({"role": "user", "content": content}, tools) for content in (PROBE, parts)]
            self._wants_parts[bool(tools)] = is_written == [False, True]
        return self._wants_parts[bool(tools)]

    def _writes(self, turn: Turn, tools: Sequence[Turn]) -> bool:
        try:
            return PROBE in self.render([turn], tools, is_prompt=True)
        except Exception:  # templates raise errors of any type
            return False

    def render(self, turns: Sequence[Turn], tools: Sequence[Turn], *, is_prompt: bool) -> str:
        """Render a conversation to text; errors of the template are not caught.

        Args:
            turns: Turns as returned by `drpt.data.example.Message.as_template_turn`.
            tools: JSON schemas of the tools.
            is_prompt: Whether to end with a generation prompt (``add_generation_prompt``).

        Returns:
            The rendered text.
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
        """Render a conversation, and locate the text that the template marks as the assistant's.

        Args:
            turns: Turns as in `render`.
            tools: JSON schemas of the tools.

        Returns:
            The rendered text, and the marked character ranges [start, stop) in order.
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
