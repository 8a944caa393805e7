"""What a row's columns say: every format of conversations, texts and preferences that is known, recognised by its columns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from drpt.checks import did_you_mean
from drpt.data.example import Example, Message
from drpt.data.pair_rows import read_pair
from drpt.data.record import RecordError, kind_words, read_text
from drpt.data.turns import read_sharegpt, read_tools, read_turns

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRules:
    """What is asked of the rows of a file or table."""

    needs_response: bool  # whether the assistant's last turn must be there
    needs_pair: bool = False  # preferences: a chosen and a rejected response
    admits_text: bool = False  # plain texts without a chat, for general pools
    format: str = AUTO  # a key of FORMATS, or AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way in which people write examples down."""

    columns: tuple[str, ...]  # all of them must be there, or one of each alternative (``a|b``)
    shown: str  # as a row looks
    read: Callable[[Mapping[str, object], RowRules], Example]
    is_pair: bool = False
    is_text: bool = False

    def fits(self, record: Mapping[str, object]) -> bool:
        """Whether a row has the columns."""
        return all(any(name in record for name in column.split("|")) for column in self.columns)


def read_row(record: object, source: str, rules: RowRules) -> Example:
    """The example that a row is.

    Args:
        record: By column; columns that the format does not have are left alone.
        source: Where it came from.
        rules: What is asked of it.

    Returns:
        The example. Without a response, its last turn is empty.

    Raises:
        RecordError: The row has no known format, or a field is missing or has the wrong kind of value.
    """
    if not isinstance(record, Mapping):
        raise RecordError(f"a JSON object was expected, not {kind_words(record)}: write one {{…}} a line.")
    found = _format_of(record, rules)
    example = replace(found.read(record, rules), source=source)
    if found.is_text:
        return example
    return replace(example, tools=read_tools(record.get("tools"), "tools")) if record.get("tools") is not None else example


def check_format(option: str, value: str) -> None:
    """Refuse a format that does not exist.

    Args:
        option: Full name of the option.
        value: What it was set to.

    Raises:
        ValueError: It is no key of `FORMATS`, and not AUTO.
    """
    if value != AUTO and value not in FORMATS:
        known = [AUTO, *FORMATS]
        raise ValueError(f"{option}={value!r} is not known.{did_you_mean(value, known)} Choices: {', '.join(known)}.")


def known_formats(rules: RowRules) -> str:
    """The formats that rows may have, for messages."""
    return "; ".join(f"{name} {entry.shown}" for name, entry in FORMATS.items() if _admits(entry, rules))


def _format_of(record: Mapping[str, object], rules: RowRules) -> Format:
    if rules.format != AUTO:
        return FORMATS[rules.format]
    fitting = [entry for entry in FORMATS.values() if _admits(entry, rules) and entry.fits(record)]
    if fitting:
        return fitting[0]  # of several, the first of the list: a conversation goes before its parts
    halves = [entry for entry in FORMATS.values() if _admits(entry, rules) and any(name in record for name in _names(entry))]
    if halves:
        return halves[0]  # which says what is missing
    keys = ", ".join(map(repr, list(record)[:8])) or "none"
    why = ""
    if "text" in record and not rules.needs_pair:
        why = " Plain texts are for the general pool: a target has a prompt and a response."
    elif "chosen" in record:
        why = " Preferences are for task=reward."
    raise RecordError(
        f"none of the formats that are known (fields: {keys}).{why} Known: {known_formats(rules)}. Other columns: "
        "columns={prompt: …, response: …}."
    )


def _names(entry: Format) -> list[str]:
    return [name for column in entry.columns for name in column.split("|")]


def _admits(entry: Format, rules: RowRules) -> bool:
    return entry.is_pair == rules.needs_pair and (rules.admits_text or not entry.is_text)


def _finished(turns: list[Message], name: str, rules: RowRules) -> Example:
    if turns[-1].role in {"user", "tool"} and not rules.needs_response:
        turns = [*turns, Message(role="assistant", content="")]
    if turns[-1].role != "assistant":
        rule = "the assistant's, since that is what is learned" if rules.needs_response else "the user's or the assistant's"
        raise RecordError(f"field '{name}' ends with the role {turns[-1].role!r}; the last turn must be {rule}.")
    return Example(messages=tuple(turns), source="")


def _messages(record: Mapping[str, object], rules: RowRules) -> Example:
    return _finished(read_turns(record.get("messages"), "messages"), "messages", rules)


def _sharegpt(record: Mapping[str, object], rules: RowRules) -> Example:
    turns = read_sharegpt(record.get("conversations"), "conversations")
    if record.get("system") and turns[0].role != "system":
        turns = [Message(role="system", content=read_text(record, "system")), *turns]
    return _finished(turns, "conversations", rules)


def _prompt_and(answer: str) -> Callable[[Mapping[str, object], RowRules], Example]:
    def read(record: Mapping[str, object], rules: RowRules) -> Example:
        if record.get("label") is False:
            raise RecordError(
                f"field 'label' is false: a {answer} that is not wanted (KTO's format) would be imitated. Leave such rows out "
                "with filter={label: true}."
            )
        prompt, response = record.get("prompt"), record.get(answer)
        if isinstance(prompt, list | tuple):
            asked = read_turns(prompt, "prompt")
        else:
            asked = [Message(role="user", content=read_text(record, "prompt"))]
        if response is None and not rules.needs_response:
            return _finished(asked, "prompt", rules)
        if isinstance(response, list | tuple):
            return _finished([*asked, *read_turns(response, answer)], answer, rules)
        return _finished([*asked, Message(role="assistant", content=read_text(record, answer))], answer, rules)

    return read


def _question_and_answer(record: Mapping[str, object], rules: RowRules) -> Example:
    asked = [Message(role="user", content=read_text(record, "question"))]
    if record.get("answer") is None and not rules.needs_response:
        return _finished(asked, "question", rules)
    return _finished([*asked, Message(role="assistant", content=read_text(record, "answer"))], "answer", rules)


def _instruction(record: Mapping[str, object], rules: RowRules) -> Example:
    prompt = read_text(record, "instruction")
    if record.get("input"):
        prompt = f"{prompt}\n{read_text(record, 'input')}"
    asked = [Message(role="user", content=prompt)]
    if record.get("system"):
        asked = [Message(role="system", content=read_text(record, "system")), *asked]
    if record.get("output") is None and not rules.needs_response:
        return _finished(asked, "instruction", rules)
    return _finished([*asked, Message(role="assistant", content=read_text(record, "output"))], "output", rules)


def _text(record: Mapping[str, object], rules: RowRules) -> Example:
    if not rules.admits_text:
        raise RecordError("field 'text': plain texts are for the general pool: a target has a prompt and a response.")
    message = Message(role="assistant", content=read_text(record, "text"))
    return Example(messages=(message,), source="", is_plain_text=True)


FORMATS: Mapping[str, Format] = {
    "messages": Format(columns=("messages",), shown='{"messages": [{"role": …, "content": …}, …]}', read=_messages),
    "sharegpt": Format(
        columns=("conversations",), shown='{"conversations": [{"from": "human", "value": …}, …]}', read=_sharegpt
    ),
    "response": Format(columns=("prompt", "response"), shown='{"prompt": …, "response": …}', read=_prompt_and("response")),
    "completion": Format(
        columns=("prompt", "completion"), shown='{"prompt": …, "completion": …}', read=_prompt_and("completion")
    ),
    "instruction": Format(
        columns=("instruction", "output"), shown='{"instruction": …, "input": …, "output": …}', read=_instruction
    ),
    "question": Format(columns=("question", "answer"), shown='{"question": …, "answer": …}', read=_question_and_answer),
    "text": Format(columns=("text",), shown='{"text": …}', read=_text, is_text=True),
    "pair": Format(
        columns=("chosen", "rejected"),
        shown='{"prompt": …, "chosen": …, "rejected": …}, texts or lists of turns, the prompt perhaps within the two',
        read=lambda record, rules: read_pair(record),
        is_pair=True,
    ),
}
