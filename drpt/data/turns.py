"""Reads the turns of conversations in OpenAI's format (``messages``) and in ShareGPT's (``conversations``)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from drpt.data.example import ROLES, Message, ToolCall
from drpt.data.json_rows import as_json
from drpt.data.record import LongInteger, RecordError, checked_text, kind_words, read_text

_CALL = "call"  # marks ShareGPT's speakers whose turns are tool calls
# Roles of ShareGPT's speakers.
_SPEAKERS = {
    **{role: role for role in ROLES},
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "function_call": _CALL,
    "tool_call": _CALL,
    "function": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "observation": "tool",
}
_ROUND = ("user", "assistant")  # roles of a pair in LLaMA-Factory's history
_SWITCHES = ("train", "loss")  # axolotl's and ms-swift's names for a weight of 1 or 0
_PARTIAL = ("train_detail", "train_offsets")
_TEXT_PARTS = ("text", "input_text", "output_text")  # the last two as in OpenAI's responses
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")


def read_turns(value: object, name: str) -> list[Message]:
    """Read a list of turns, each ``{"role": …, "content": …}``.

    Args:
        value: Value of a field in one row. A content may be a list of text parts, which are joined, or null beside tool calls.
        name: Name of the field, for messages.

    Returns:
        At least one turn.

    Raises:
        RecordError: The value is not a list of turns, or a turn is malformed.
    """
    return [_read_turn(turn, f"{name}[{i}]") for i, turn in enumerate(_listed(value, name))]


def _listed(value: object, name: str) -> Sequence[object]:
    if not isinstance(value, list | tuple) or not len(value):
        raise RecordError(f"field '{name}' must be a list of at least one turn, not {kind_words(value)}.")
    return value


def read_sharegpt(value: object, name: str) -> list[Message]:
    """Read a list of turns, each ``{"from": "human", "value": …}`` or as in `read_turns`.

    Args:
        value: Value of a field in one row.
        name: Name of the field, for messages.

    Returns:
        At least one turn.

    Raises:
        RecordError: The value is not a list of turns, or a turn is malformed.
    """
    turns = []
    for i, turn in enumerate(_listed(value, name)):
        where = f"{name}[{i}]"
        if not isinstance(turn, Mapping) or "from" not in turn:
            turns.append(_read_turn(turn, where))
            continue
        speaker = turn["from"]
        role = _SPEAKERS.get(speaker.lower()) if isinstance(speaker, str) else None
        if role is None:
            raise RecordError(f"field '{where}.from' is {_shown(speaker)}; it must be one of {', '.join(_SPEAKERS)}.")
        turns.append(_message(turn, role, "value", where))
    return turns


def read_tools(value: object, name: str) -> tuple[Mapping[str, Any], ...]:  # Any: JSON values
    """Read the schemas of the functions that the assistant may call.

    Args:
        value: A list of objects, such a list as JSON text, or null.
        name: Name of the field, for messages.

    Returns:
        JSON schemas of the functions; empty if there are none.

    Raises:
        RecordError: The value is something else.
    """
    if isinstance(value, str):
        value = _parsed(value, name) if value.strip() else None
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(tool, Mapping) for tool in value):
        raise RecordError(f"field '{name}' must be a list of objects, each the JSON schema of a function.")
    # Templates write schemas as text, so they must be valid JSON and Unicode.
    return tuple(_parsed(checked_text(_as_json(value, name), name), name))


def read_history(value: object, name: str) -> list[Message]:
    """Read the turns before a question: LLaMA-Factory's pairs of question and answer, or a list of turns.

    Args:
        value: A list, or a list as JSON text.
        name: Name of the field, for messages.

    Returns:
        The turns, of which the answers are learned.

    Raises:
        RecordError: The value is something else.
    """
    rounds = _parsed(value, name) if isinstance(value, str) else value
    if isinstance(rounds, list | tuple) and rounds and all(isinstance(one, Mapping) for one in rounds):
        return read_turns(rounds, name)
    if not isinstance(rounds, list | tuple) or not all(isinstance(one, list | tuple) and len(one) == 2 for one in rounds):
        raise RecordError(f"field '{name}' must be a list of pairs, [[question, answer], …], or of turns.")
    texts = [
        (role, text, f"{name}[{i}][{j}]")
        for i, one in enumerate(rounds)
        for j, (role, text) in enumerate(zip(_ROUND, one, strict=True))
    ]
    return [Message(role=role, content=checked_text(text, where)) for role, text, where in texts]


def _read_turn(turn: object, where: str) -> Message:
    if not isinstance(turn, Mapping):
        raise RecordError(f'field \'{where}\' must be {{"role": …, "content": …}}, not {kind_words(turn)}.')
    role = turn.get("role")
    role = "tool" if role == "function" else role
    if role not in ROLES:
        raise RecordError(f"field '{where}.role' is {_shown(role)}; it must be one of {', '.join(ROLES)}.")
    return _message(turn, role, "content", where)


def _message(turn: Mapping[str, object], role: str, key: str, where: str) -> Message:
    """Read a turn with a known role; for ShareGPT's turns of tool calls, the content is the calls."""
    given = turn.get("tool_calls")
    if given is None and turn.get("function_call") is not None:  # older format with a single call
        given = [turn["function_call"]]
    if role == _CALL:
        role, content = "assistant", ""
        given = _parsed(_read_content(turn, key, f"{where}.{key}", may_be_null=False), f"{where}.{key}")
    else:
        content = _read_content(turn, key, f"{where}.{key}", may_be_null=bool(given))
    calls = _read_calls(given, f"{where}.tool_calls") if given is not None else ()
    if calls and role != "assistant":
        raise RecordError(f"field '{where}.tool_calls': only the assistant calls tools, but this turn is the {role}'s.")
    thoughts = [name for name in _THOUGHTS if turn.get(name) is not None]
    if len(thoughts) > 1:
        raise RecordError(f"fields '{where}.{thoughts[0]}' and '{where}.{thoughts[1]}' are both filled: keep one.")
    if thoughts and role != "assistant":
        raise RecordError(f"field '{where}.{thoughts[0]}': only the assistant has reasoning, but this turn is the {role}'s.")
    return Message(
        role=role,
        content=content,
        reasoning_content=checked_text(turn[thoughts[0]], f"{where}.{thoughts[0]}") if thoughts else None,
        tool_calls=calls,
        tool_call_id=_optional_text(turn, "tool_call_id", where),
        name=_optional_text(turn, "name", where),
        is_learned=_is_learned(turn, role, where),
    )


def _read_content(turn: Mapping[str, object], key: str, name: str, *, may_be_null: bool) -> str:
    value = turn.get(key)
    if value is None and may_be_null:
        return ""
    if not isinstance(value, list | tuple):
        return read_text(turn, key, name)
    texts = []
    for i, part in enumerate(value):
        if isinstance(part, str):
            texts.append(checked_text(part, f"{name}[{i}]"))
        elif isinstance(part, Mapping) and part.get("type", "text") in _TEXT_PARTS:
            texts.append(read_text(part, "text", f"{name}[{i}].text"))
        else:
            kind = part.get("type") if isinstance(part, Mapping) else kind_words(part)
            raise RecordError(f"field '{name}[{i}]' is {_shown(kind)}: only text parts can be trained on.")
    return "".join(texts)


def _read_calls(value: object, name: str) -> tuple[ToolCall, ...]:
    calls = [value] if isinstance(value, Mapping) else value
    if not isinstance(calls, list | tuple):
        raise RecordError(f"field '{name}' must be a list of calls, not {kind_words(value)}.")
    return tuple(_read_call(call, f"{name}[{i}]") for i, call in enumerate(calls))


def _read_call(call: object, name: str) -> ToolCall:
    inner = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(call, Mapping) or not isinstance(inner, Mapping):
        raise RecordError(f'field \'{name}\' must be {{"function": {{"name": …, "arguments": …}}}}, not {kind_words(call)}.')
    arguments = inner.get("arguments")
    if arguments is None:
        arguments = {}
    written = arguments if isinstance(arguments, str) else _as_json(arguments, f"{name}.arguments")
    return ToolCall(
        name=read_text(inner, "name", f"{name}.name"),
        arguments=checked_text(written, f"{name}.arguments"),
        id=_optional_text(call, "id", name),
    )


def _is_learned(turn: Mapping[str, object], role: str, where: str) -> bool:
    weight = turn.get("weight")
    if weight is not None and (role != "assistant" or isinstance(weight, bool) or weight not in (0, 1)):
        raise RecordError(
            f"field '{where}.weight' is {_shown(weight)} in the {role}'s turn; it must be 1 (learned) or 0 (not learned), and "
            "only in turns of the assistant."
        )
    answers = [] if weight is None else [bool(weight)]
    for key in _SWITCHES:  # some files have these on every turn
        switch = turn.get(key)
        if switch is None:
            continue
        if not isinstance(switch, bool) or (switch and role != "assistant"):
            raise RecordError(
                f"field '{where}.{key}' is {_shown(switch)} in the {role}'s turn; it must be true (learned) or false (not "
                "learned), and only an assistant's turn can be learned."
            )
        answers.append(switch)
    for key in _PARTIAL:
        if turn.get(key):
            raise RecordError(f"field '{where}.{key}': turns are learned as a whole or not at all: write \"weight\": 1 or 0.")
    if len(set(answers)) > 1:
        raise RecordError(f"turn '{where}': 'weight', {' and '.join(map(repr, _SWITCHES))} contradict each other: keep one.")
    return all(answers)


def _optional_text(record: Mapping[str, object], key: str, where: str) -> str | None:
    return None if record.get(key) is None else read_text(record, key, f"{where}.{key}")


def _as_json(value: object, name: str) -> str:
    try:
        return as_json(value)
    except RecordError as error:
        raise RecordError(f"field '{name}' contains {error}.") from error


def _parsed(text: str, name: str) -> Any:  # Any: JSON values
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"field '{name}' must contain JSON ({str(error)[:60]}).") from error


def _shown(value: object) -> str:
    text = kind_words(value) if isinstance(value, LongInteger) else repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
