"""The type of examples that all sources produce: a conversation with turns, tool calls and tools."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call of a function by the assistant."""

    name: str
    arguments: str  # JSON as text, which preserves the order of keys and the notation of numbers
    id: str | None = None  # identifier by which the tool's result refers to the call

    def as_template_call(self) -> dict[str, Any]:  # Any: JSON values
        """The call in the form that chat templates expect, with arguments that are a JSON object as a mapping."""
        try:
            arguments = json.loads(self.arguments)
        except (ValueError, RecursionError):  # keep text that is not JSON, or has too many digits or brackets
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
    content: str  # empty if the turn consists of tool calls only
    reasoning_content: str | None = None  # the assistant's reasoning before the content, if stored separately
    tool_calls: tuple[ToolCall, ...] = ()  # tool calls of an assistant turn
    tool_call_id: str | None = None  # identifier of the call to which a tool turn responds
    name: str | None = None  # name of the speaker, such as the tool
    is_learned: bool = True  # False = an assistant turn that is only context ("weight": 0)

    @property
    def has_text(self) -> bool:
        """Whether the turn has anything to learn: content, reasoning or a tool call."""
        return bool(self.content.strip() or self.tool_calls or (self.reasoning_content or "").strip())

    def as_template_turn(self) -> dict[str, Any]:  # Any: JSON values
        """The turn in the form that chat templates expect, without absent fields."""
        turn: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.reasoning_content is not None:
            turn["reasoning_content"] = self.reasoning_content
        if self.tool_calls:
            turn["tool_calls"] = [call.as_template_call() for call in self.tool_calls]
        given = {"tool_call_id": self.tool_call_id, "name": self.name}
        return turn | {key: value for key, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A conversation that ends with a turn of the assistant, which is empty if there is only a prompt."""

    messages: tuple[Message, ...]
    source: str  # task family, or file and line
    payload: Mapping[str, Any] = field(default_factory=dict)  # data for the source's verifier; Any: differs by source
    tools: tuple[Mapping[str, Any], ...] = ()  # JSON schemas of functions that the assistant may call; Any: JSON values
    is_plain_text: bool = False  # True = a text without chat structure, learned as a whole without a template

    @property
    def prompt(self) -> tuple[Message, ...]:
        """All turns before the last."""
        return self.messages[:-1]

    @property
    def response(self) -> str:
        """Content of the last turn; empty if there is no reference response or the turn only calls tools."""
        return self.messages[-1].content
