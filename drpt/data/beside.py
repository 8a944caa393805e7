"""Additional columns of a row, such as system prompts, tools and contexts: they are read or refused, never dropped silently."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, time
from decimal import Decimal
from typing import Any

from drpt.data.example import Example, Message
from drpt.data.record import LongInteger, RecordError, kind_words, read_text
from drpt.data.turns import read_history, read_tools

SYSTEM = ("system", "system_prompt")
TOOLS = ("tools", "functions")
LABEL = "label"
READ_BESIDE = (*SYSTEM, *TOOLS, LABEL)  # columns read with every format of conversations
# Columns on which an answer may depend. A format that does not read one of them refuses rows in which it is filled.
_MEDIA = ("image", "images", "video", "videos", "audio", "audios")
OF_TURNS = ("documents", "history", *_MEDIA)
OF_TEXTS = ("context", "input", "choices", "options", *OF_TURNS)
# KTO's label of an unwanted answer, as written in files without Boolean values.
_UNWANTED = {"false", "0", "0.0", "-1", "no", "n", "f", "bad", "negative", "rejected", "undesirable", "unwanted"}
_WANTED = {"false": "true", "no": "yes", "n": "y", "f": "t", "bad": "good", "negative": "positive", "rejected": "chosen"}
_WANTED |= {"undesirable": "desirable", "unwanted": "wanted"}


def is_filled(value: object) -> bool:
    """Whether a cell is not empty."""
    return value is not None and value not in ("", [], (), {})


def refuse_unwanted(record: Mapping[str, object]) -> None:
    """Refuse an answer that is labelled as unwanted.

    Args:
        record: Row by column.

    Raises:
        RecordError: The ``label`` is false, 0, or a word with this meaning.
    """
    label = record.get(LABEL)
    if isinstance(label, str):
        is_unwanted = label.strip().lower() in _UNWANTED
        wanted = _like(label, _WANTED.get(label.strip().lower(), "1"))
    else:
        is_unwanted = isinstance(label, int | float) and label <= 0  # bool is a subclass of int
        wanted = "true" if isinstance(label, bool) else "1"
    if is_unwanted:
        shown = "false" if label is False else repr(label)
        raise RecordError(
            f"field 'label' is {shown}: training would imitate an unwanted answer (KTO's format). Leave such rows out with "
            f"filter={{label: {wanted}}}; if the label means something else, map the other columns by columns={{…}}."
        )


def with_beside(example: Example, record: Mapping[str, object], *, has_history: bool) -> Example:
    """Add the system turn, the history and the tools of a row to its example.

    Args:
        example: Example made of the format's own columns.
        record: Row by column, which may have ``system`` or ``system_prompt``, ``tools`` or OpenAI's older ``functions``, and
            ``history``.
        has_history: Whether the format has one question and one answer, which a history may precede.

    Returns:
        Example with its system turn, earlier turns and tools.

    Raises:
        RecordError: A column has a value of the wrong type, or contradicts the turns or another column.
    """
    turns = example.messages
    if has_history and is_filled(record.get("history")):
        turns = (*read_history(record["history"], "history"), *turns)
    system = _system(record)
    if system is not None:
        turns = _with_system(turns, *system)
    return replace(example, messages=turns, tools=_tools(record))


def _system(record: Mapping[str, object]) -> tuple[str, str] | None:
    """Name of the column with the system prompt, and its text; None if there is none."""
    given = {name: read_text(record, name) for name in SYSTEM if is_filled(record.get(name))}
    given = {name: text for name, text in given.items() if text.strip()}
    if len(set(given.values())) > 1:
        raise RecordError("fields 'system' and 'system_prompt' are both filled and differ: keep one.")
    return next(iter(given.items()), None)


def _with_system(turns: tuple[Message, ...], name: str, text: str) -> tuple[Message, ...]:
    if turns[0].role not in {"system", "developer"}:
        return (Message(role="system", content=text), *turns)
    if turns[0].content.strip() != text.strip():
        raise RecordError(
            f"field '{name}' differs from the {turns[0].role} turn that begins the conversation: remove one of the two, "
            "or map only the turns, such as columns={messages: messages}."
        )
    return turns


def _tools(record: Mapping[str, object]) -> tuple[Mapping[str, Any], ...]:  # Any: JSON values
    tools, functions = (read_tools(record.get(name), name) for name in TOOLS)
    # The older format lists functions without the wrapper of tools.
    wrapped = tuple(one if "function" in one else {"type": "function", "function": one} for one in functions)
    if tools and wrapped and tools not in (wrapped, functions):
        raise RecordError("fields 'tools' and 'functions' are both filled and differ: keep one.")
    return tools or wrapped


def refuse_lost(record: Mapping[str, object], lost: Iterable[str], mapping: Mapping[str, str]) -> None:
    """Refuse a row with a filled column that the answer may depend on but that its format does not read.

    Args:
        record: Row by column.
        lost: Columns that matter but are not read.
        mapping: Columns of which the example is made, by the fields of ``columns={…}``.

    Raises:
        RecordError: The row has a value in a column that drpt cannot use.
    """
    for name in lost:
        if is_filled(record.get(name)):
            way = "write it into a turn"
            if name in _MEDIA:
                way = "only texts can be trained on; remove such rows"
            elif "prompt" in mapping:
                joined = f"{name}}} {{{mapping['prompt']}"
                way = f"write it into the prompt, {mapped({**mapping, 'prompt': joined})}"
            raise RecordError(
                f"field '{name}' would be lost: {way}, or, if it is not needed, map only the others: {mapped(mapping)}."
            )


def refuse_no_text(record: Mapping[str, object], mapping: Mapping[str, str]) -> None:
    """Refuse a column that should be a text and is a number, a truth value, a date or a list of texts, with what makes it one.

    Args:
        record: By column.
        mapping: The columns that the example is made of, by the fields of ``columns={…}``.

    Raises:
        RecordError: The row has a value of that kind in one of the columns.
    """
    texts = {field: name for field, name in mapping.items() if field not in {"messages", "conversations"}}
    for field, name in texts.items():
        value = record.get(name)
        place = "[0]" if isinstance(value, list | tuple) and value and isinstance(value[0], str) else ""
        is_number = isinstance(value, int | LongInteger | Decimal) or (isinstance(value, float) and math.isfinite(value))
        if place or is_number or isinstance(value, date | time):
            template = mapped({**mapping, field: f"{name}{place}"} if "prompt" in mapping else {field: f"{{{name}{place}}}"})
            what = "takes the first text of it" if place else "writes it as text"
            raise RecordError(f"field '{name}' must be a string, not {kind_words(value)}: {template} {what}.")


def mapped(mapping: Mapping[str, str]) -> str:
    """The option that maps fields to columns, as typed on the command line.

    Args:
        mapping: Columns by field.

    Returns:
        Text such as ``columns={prompt: "{question}", response: "{answer}"}``; a column of turns without quotes and braces.
    """
    braces = "prompt" in mapping
    texts = [f'{field}: "{{{column}}}"' if braces else f"{field}: {column}" for field, column in mapping.items()]
    return f"columns={{{', '.join(texts)}}}"


def _like(word: str, other: str) -> str:
    """Put a word in quotes, with the capitalisation of another word."""
    is_name = word.strip()[:1].isupper()
    return f'"{other.upper() if word.isupper() else other.capitalize() if is_name else other}"'
