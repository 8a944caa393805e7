"""One conversation, whatever it came from, and the reading of one from a record of a file or data set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: str  # one of ROLES
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A conversation that ends with the assistant's turn, whose text is empty where there is only a prompt."""

    messages: tuple[Message, ...]
    source: str  # task family, or file and line
    payload: Mapping[str, Any] = field(default_factory=dict)  # what the source's verifier needs; Any: its own business

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
        """The assistant's last turn; empty without a reference response."""
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
