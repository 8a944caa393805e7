"""One conversation, whatever it came from, and the reading of one from a record of a file or data set."""

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
        except ValueError:
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
    def beginning(self) -> tuple[Message, ...]:
        """All turns up to the first user's: what two versions of one conversation share, however long they are."""
        first_user = next((i for i, message in enumerate(self.messages) if message.role == "user"), len(self.messages) - 1)
        return self.messages[: first_user + 1]

    @property
    def response(self) -> str:
        """The content of the assistant's last turn; empty without a reference response, or where it only calls tools."""
        return self.messages[-1].content


class RecordError(ValueError):
    """A record is not a conversation; the message names the field, what is wrong with it and the fix."""


def example_from_record(record: object, source: str, *, needs_response: bool) -> Example:
    """Read a record in chat format: ``messages``, or ``prompt`` and ``response``.

    Args:
        record: ``{"messages": [{"role": …, "content": …}, …]}`` or ``{"prompt": str, "response": str}``; other keys are
            left alone.
        source: Where it came from.
        needs_response: Whether the assistant's last turn must be there. If not, ``messages`` may end with the user's, and
            ``response`` may be missing or null: the last turn is then empty. A response that is there is kept.

    Returns:
        The example.

    Raises:
        RecordError: A field is missing or has the wrong kind of value.
    """
    if not isinstance(record, Mapping):
        raise RecordError(f"a JSON object was expected, not {_kind(record)}: write one {{…}} a line.")
    if "messages" in record:
        messages = _read_messages(record["messages"], needs_response=needs_response)
    elif "prompt" in record or "response" in record:
        is_prompt_alone = not needs_response and record.get("response") is None
        prompt, response = read_text(record, "prompt"), "" if is_prompt_alone else read_text(record, "response")
        messages = (Message(role="user", content=prompt), Message(role="assistant", content=response))
    else:
        keys = ", ".join(map(repr, list(record)[:8])) or "none"
        raise RecordError(f"neither field 'messages' nor fields 'prompt' and 'response' are there (fields: {keys}).")
    return Example(messages=messages, source=source)


def _read_messages(value: object, *, needs_response: bool) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise RecordError(f"field 'messages' must be a list of at least one turn, not {_kind(value)}.")
    messages = []
    for i, turn in enumerate(value):
        if not isinstance(turn, Mapping):
            raise RecordError(f'field \'messages[{i}]\' must be {{"role": …, "content": …}}, not {_kind(turn)}.')
        role = turn.get("role")
        if role not in ROLES:
            raise RecordError(f"field 'messages[{i}].role' is {role!r}; it must be one of {', '.join(ROLES)}.")
        messages.append(Message(role=role, content=read_text(turn, "content", f"messages[{i}].content")))
    if messages[-1].role == "user" and not needs_response:
        messages.append(Message(role="assistant", content=""))
    if messages[-1].role != "assistant":
        rule = "the assistant's, since that is what is learned" if needs_response else "the user's or the assistant's"
        raise RecordError(f"field 'messages' ends with the role {messages[-1].role!r}; the last turn must be {rule}.")
    return tuple(messages)


def read_text(record: Mapping[str, object], key: str, name: str | None = None) -> str:
    """A field that must be a text.

    Args:
        record: Holds it.
        key: Its name in the record.
        name: Its name for messages, where that is longer.

    Returns:
        The text.

    Raises:
        RecordError: It is missing, or no text.
    """
    if key not in record:
        raise RecordError(f"field '{name or key}' is missing.")
    value = record[key]
    if not isinstance(value, str):
        raise RecordError(f"field '{name or key}' must be a string, not {_kind(value)}.")
    return value


def _kind(value: object) -> str:
    names = {type(None): "null", dict: "an object", list: "a list", str: "a string", bool: "a truth value"}
    return "an empty list" if value == [] else names.get(type(value), f"the number {value}")
