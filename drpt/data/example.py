"""One conversation, whatever it came from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A function that the assistant calls."""

    name: str
    arguments: str  # JSON, as a model writes it; kept as a text so that the order of keys and the numbers stay
    id: str | None = None  # by which the tool's answer refers to it

    def as_template_call(self) -> dict[str, Any]:  # Any: JSON values
        """The call as chat templates expect it: arguments that are a JSON object become a mapping."""
        try:
            arguments = json.loads(self.arguments)
        except (ValueError, RecursionError):  # also of too many digits or brackets: written as they are
            arguments = None
        call: dict[str, Any] = {
            "type": "function",
            "function": {"name": self.name, "arguments": arguments if isinstance(arguments, dict) else self.arguments},
        }
        return call if self.id is None else {"id": self.id} | call


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: str  # one of ROLES
    content: str  # empty where a turn is tool calls alone
    reasoning_content: str | None = None  # the assistant's thoughts before the content, where they are kept apart
    tool_calls: tuple[ToolCall, ...] = ()  # of the assistant
    tool_call_id: str | None = None  # of a tool's answer
    name: str | None = None  # of who speaks, such as the tool
    is_learned: bool = True  # False: an assistant turn that is context alone ("weight": 0)

    @property
    def has_text(self) -> bool:
        """Whether there is anything to learn: a content, a thought or a tool call."""
        return bool(self.content.strip() or self.tool_calls or (self.reasoning_content or "").strip())

    def as_template_turn(self) -> dict[str, Any]:  # Any: JSON values
        """The turn as chat templates expect it; fields that it does not have are left out."""
        turn: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.reasoning_content is not None:
            turn["reasoning_content"] = self.reasoning_content
        if self.tool_calls:
            turn["tool_calls"] = [call.as_template_call() for call in self.tool_calls]
        given = {"tool_call_id": self.tool_call_id, "name": self.name}
        return turn | {key: value for key, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A conversation that ends with the assistant's turn, which is empty where there is only a prompt."""

    messages: tuple[Message, ...]
    source: str  # task family, or file and line
    payload: Mapping[str, Any] = field(default_factory=dict)  # what the source's verifier needs; Any: its own business
    tools: tuple[Mapping[str, Any], ...] = ()  # JSON schemas of functions that the assistant may call; Any: JSON values
    is_plain_text: bool = False  # the one turn is a text without a chat: all of it is learned, no template is used

    @property
    def prompt(self) -> tuple[Message, ...]:
        """All turns before the last."""
        return self.messages[:-1]

    @property
    def response(self) -> str:
        """The content of the assistant's last turn; empty without a reference response, or where it only calls tools."""
        return self.messages[-1].content
