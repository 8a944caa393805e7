"""Reads rows as examples: the known formats of conversations, texts and preferences, recognised by their columns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from drpt.checks import did_you_mean
from drpt.data.beside import (
    OF_TEXTS,
    OF_TURNS,
    READ_BESIDE,
    is_filled,
    mapped,
    refuse_lost,
    refuse_no_text,
    refuse_unwanted,
    with_beside,
)
from drpt.data.example import Example, Message
from drpt.data.pair_rows import read_pair
from drpt.data.record import RecordError, kind_words, read_text
from drpt.data.turns import read_sharegpt, read_turns

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRules:
    """Requirements on the rows of a file or table."""

    needs_response: bool  # whether each row must have a response
    needs_pair: bool = False  # whether rows are preferences, with a chosen and a rejected response
    admits_text: bool = False  # whether plain texts are accepted, which only general pools allow
    format: str = AUTO  # format of the rows, a key of FORMATS, or AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format of rows."""

    columns: tuple[str, ...]  # required columns, with alternatives as ``a|b``; the first is the prompt
    shown: str  # example of a row, for messages
    read: Callable[[Mapping[str, object], RowRules], Example]
    may_have: tuple[str, ...] = ()  # optional columns that are read
    lost: tuple[str, ...] = OF_TURNS  # columns that matter to the answer; refused unless the format reads them
    is_pair: bool = False
    is_text: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All columns of the format: required, alternative and optional ones."""
        return (*(name for column in self.columns for name in column.split("|")), *self.may_have)

    @property
    def reads(self) -> tuple[str, ...]:
        """All columns that are read, including system prompts, tools and labels."""
        return self.names if self.is_text else (*self.names, *READ_BESIDE)

    def fit(self, record: Mapping[str, object]) -> int:
        """How well a row matches: 3 = all columns are filled, 2 = the first is filled, 1 = all exist, 0 = one is missing."""
        found = [[record[name] for name in column.split("|") if name in record] for column in self.columns]
        if not all(found):
            return 0
        filled = [any(value is not None for value in values) for values in found]
        return 3 if all(filled) else 2 if filled[0] else 1

    def missing(self, record: Mapping[str, object]) -> list[str]:
        """Required columns that a row lacks."""
        return [column.split("|")[0] for column in self.columns if not any(name in record for name in column.split("|"))]

    def mapping(self, record: Mapping[str, object]) -> dict[str, str]:
        """Columns of a row of which the example is made, by the fields of ``columns={…}``."""
        names = [next((n for n in column.split("|") if n in record), column.split("|")[0]) for column in self.columns]
        if self.is_pair and "prompt" in record:
            names = ["prompt", *names]
        fields = names if self.is_pair or len(names) == 1 else ["prompt", "response"]
        return dict(zip(fields, names, strict=True))


def read_row(record: object, source: str, rules: RowRules) -> Example:
    """Read a row as an example.

    Args:
        record: Row by column. Columns that matter to the conversation but are not read are refused, see `drpt.data.beside`;
            other columns are ignored, see `unread_columns`.
        source: Place of the row, for messages.
        rules: Requirements on the row.

    Returns:
        The example, whose last turn is empty if there is no response.

    Raises:
        RecordError: The row has no known format, or a field is missing, has a value of the wrong type, or would be lost.
    """
    if not isinstance(record, Mapping):
        raise RecordError(f"a JSON object was expected, not {kind_words(record)}: write one {{…}} per line.")
    found = _format_of(record, rules)
    missing = found.missing(record)
    if missing and (rules.needs_response or found.is_pair or missing[0] == found.columns[0].split("|")[0]):
        raise RecordError(_missing_words(missing[0], record, found))
    if not found.is_text and not found.is_pair:
        refuse_unwanted(record)
    refuse_no_text(record, found.mapping(record))
    example = replace(found.read(record, rules), source=source)
    if found.is_text:
        return example
    refuse_lost(record, [name for name in found.lost if name not in found.names], found.mapping(record))
    return with_beside(example, record, has_history="history" in found.may_have)


def unread_columns(record: Mapping[str, object], rules: RowRules) -> list[str]:
    """Columns of a row that are not read.

    Args:
        record: Row by column.
        rules: Requirements on the row.

    Returns:
        Names of the columns.
    """
    reads = _format_of(record, rules).reads
    return [name for name in record if name not in reads]


def check_mapping(option: str, columns: Mapping[str, str], rules: RowRules) -> None:
    """Refuse a mapping whose fields do not make an example, before any row is read.

    Args:
        option: Full name of the option, for messages.
        columns: Columns by field.
        rules: Requirements on the rows.

    Raises:
        ValueError: The fields belong to no format or to several, or one is missing.
    """
    record = dict.fromkeys(columns, "")
    try:
        found = _format_of(record, rules)
    except RecordError as error:
        raise ValueError(f"{option}: {', '.join(columns)}: {error}") from error
    missing = [] if not rules.needs_response and found.columns[0] in columns else found.missing(record)
    if missing:
        raise ValueError(f"{option}: in addition to {', '.join(columns)}, map {' and '.join(missing)}: {found.shown}.")
    lost = [field for field in columns if field not in found.reads]
    if lost:
        raise ValueError(
            f"{option}: {', '.join(columns)}: an example of the form {found.shown} has no field {' and '.join(lost)}: remove "
            f"{' and '.join(lost)}, or the others."
        )


def check_format(option: str, value: str) -> None:
    """Refuse a format that does not exist.

    Args:
        option: Full name of the option, for messages.
        value: Value of the option.

    Raises:
        ValueError: The value is neither a key of `FORMATS` nor AUTO.
    """
    if value != AUTO and value not in FORMATS:
        known = [AUTO, *FORMATS]
        raise ValueError(f"{option}={value!r} is not known.{did_you_mean(value, known)} Choices: {', '.join(known)}.")


def known_formats(rules: RowRules) -> str:
    """List the accepted formats, for messages."""
    return "; ".join(f"{name} {entry.shown}" for name, entry in FORMATS.items() if _admits(entry, rules))


def _format_of(record: Mapping[str, object], rules: RowRules) -> Format:
    if rules.format != AUTO:
        return FORMATS[rules.format]
    known = [entry for entry in FORMATS.values() if _admits(entry, rules)]
    # Of several formats that match equally well, the first is chosen: whole conversations come before their parts.
    best = max(known, key=lambda entry: entry.fit(record))
    if best.fit(record):
        return best
    is_pair = "chosen" in record and "rejected" in record and not rules.needs_pair
    halves = [] if is_pair else [entry for entry in known if len(entry.missing(record)) < len(entry.columns)]
    if halves:  # a partial match, which leads to an error; a prompt indicates the format better than an answer
        return min(halves, key=lambda entry: (len(missing := entry.missing(record)), entry.columns[0] in missing))
    why = ""
    if "text" in record and not rules.needs_pair:
        why = " Plain texts are only for the general pool; a target has a prompt and a response."
    elif "chosen" in record:
        why = " Preferences are for task=reward: data=preferences, or format=pair."
    else:
        why = _within(record)
    raise RecordError(
        f"the row has no known format (fields: {_fields(record)}).{why} Known formats: {known_formats(rules)}. Map columns of "
        "other names by columns={prompt: …, response: …}."
    )


def _missing_words(name: str, record: Mapping[str, object], found: Format) -> str:
    mapping = {field: column if column in record else "…" for field, column in found.mapping(record).items()}
    return (
        f"field '{name}' is missing.{did_you_mean(name, record)} Fields: {_fields(record)}. If other columns contain the "
        f"example, map them: {mapped(mapping)}."
    )


def _within(record: Mapping[str, object]) -> str:
    """Where the turns or rows seem to be that a row holds in a field of another name."""
    for name, value in record.items():
        first = value[0] if isinstance(value, list | tuple) and value else None
        if isinstance(first, Mapping):
            field = "messages" if "role" in first else "conversations" if "from" in first else None
            if field is not None:
                return f" The turns seem to be in its field {name!r}: columns={{{field}: {name}}}."
            return f" If the rows are in its field {name!r}, write that array alone."
    return ""


def _fields(record: Mapping[str, object]) -> str:
    return ", ".join(map(repr, list(record)[:8])) or "none"


def _admits(entry: Format, rules: RowRules) -> bool:
    return entry.is_pair == rules.needs_pair and (rules.admits_text or not entry.is_text)


def _finished(turns: list[Message], name: str, rules: RowRules) -> Example:
    if turns[-1].role in {"user", "tool"} and not rules.needs_response:
        turns = [*turns, Message(role="assistant", content="")]
    if turns[-1].role != "assistant":
        rule = "the assistant's, since that is what is learned" if rules.needs_response else "the user's or the assistant's"
        way = "take that turn out, or the row"
        raise RecordError(f"field '{name}' ends with the role {turns[-1].role!r}; the last turn must be {rule}: {way}.")
    return Example(messages=tuple(turns), source="")


def _messages(record: Mapping[str, object], rules: RowRules) -> Example:
    return _finished(read_turns(record.get("messages"), "messages"), "messages", rules)


def _sharegpt(record: Mapping[str, object], rules: RowRules) -> Example:
    return _finished(read_sharegpt(record.get("conversations"), "conversations"), "conversations", rules)


def _prompt_and(answer: str) -> Callable[[Mapping[str, object], RowRules], Example]:
    def read(record: Mapping[str, object], rules: RowRules) -> Example:
        prompt, response = record.get("prompt"), record.get(answer)
        if isinstance(prompt, list | tuple):
            # As in TRL, no turn in the prompt is learned.
            turns = read_turns(prompt, "prompt")
            asked = [replace(turn, is_learned=False) if turn.role == "assistant" else turn for turn in turns]
        else:
            asked = [Message(role="user", content=read_text(record, "prompt"))]
        if response is None and not rules.needs_response:
            return _finished(asked, "prompt", rules)
        if isinstance(response, list | tuple):
            return _finished([*asked, *read_turns(response, answer)], answer, rules)
        return _finished([*asked, Message(role="assistant", content=read_text(record, answer))], answer, rules)

    return read


def _question_and_answer(record: Mapping[str, object], rules: RowRules) -> Example:
    prompt = read_text(record, "question")
    if is_filled(record.get("context")):
        prompt = f"{_context(record, 'question')}\n\n{prompt}"
    return _answered(prompt, record, "answer" if "answer" in record else "response", rules)


def _instruction(record: Mapping[str, object], rules: RowRules) -> Example:
    prompt = read_text(record, "instruction")
    beside = [name for name in ("input", "context") if is_filled(record.get(name))]
    if len(beside) > 1:
        raise RecordError(
            "fields 'input' and 'context' are both filled: map where they go, such as "
            'columns={prompt: "{instruction} {context} {input}", response: "{output}"}.'
        )
    if beside:
        text = read_text(record, "input") if beside == ["input"] else _context(record, "instruction")
        prompt = f"{prompt}\n{text}"
    return _answered(prompt, record, "output" if "output" in record else "response", rules)


def _context(record: Mapping[str, object], ask: str) -> str:
    if not isinstance(record["context"], str):
        raise RecordError(
            f"field 'context' must be a string, not {kind_words(record['context'])}: map the text in it, such as "
            f'columns={{prompt: "{{context[0]}} {{{ask}}}", response: …}}, or write it as JSON, {{context:json}}.'
        )
    return read_text(record, "context")


def _answered(prompt: str, record: Mapping[str, object], answer: str, rules: RowRules) -> Example:
    asked = [Message(role="user", content=prompt)]
    if record.get(answer) is None and not rules.needs_response:
        return _finished(asked, answer, rules)
    return _finished([*asked, Message(role="assistant", content=read_text(record, answer))], answer, rules)


def _text(record: Mapping[str, object], rules: RowRules) -> Example:
    if not rules.admits_text:
        raise RecordError("field 'text': plain texts are only for the general pool; a target has a prompt and a response.")
    message = Message(role="assistant", content=read_text(record, "text"))
    return Example(messages=(message,), source="", is_plain_text=True)


FORMATS: Mapping[str, Format] = {
    "messages": Format(columns=("messages",), shown='{"messages": [{"role": …, "content": …}, …]}', read=_messages),
    "sharegpt": Format(
        columns=("conversations",), shown='{"conversations": [{"from": "human", "value": …}, …]}', read=_sharegpt
    ),
    "response": Format(
        columns=("prompt", "response"),
        shown='{"prompt": …, "response": …}',
        read=_prompt_and("response"),
        may_have=("history",),
        lost=OF_TEXTS,
    ),
    "completion": Format(
        columns=("prompt", "completion"),
        shown='{"prompt": …, "completion": …}',
        read=_prompt_and("completion"),
        may_have=("history",),
        lost=OF_TEXTS,
    ),
    "instruction": Format(
        columns=("instruction", "output|response"),
        shown='{"instruction": …, "input": …, "output": …}, or "context" and "response"',
        read=_instruction,
        may_have=("input", "context", "history"),
        lost=OF_TEXTS,
    ),
    "question": Format(
        columns=("question", "answer|response"),
        shown='{"question": …, "answer": …}, optionally with "context", which precedes the question',
        read=_question_and_answer,
        may_have=("context", "history"),
        lost=OF_TEXTS,
    ),
    "text": Format(columns=("text",), shown='{"text": …}', read=_text, is_text=True, lost=()),
    "pair": Format(
        columns=("chosen", "rejected"),
        shown='{"prompt": …, "chosen": …, "rejected": …} with texts or lists of turns, or without a prompt field',
        read=lambda record, rules: read_pair(record),
        may_have=("prompt",),
        lost=OF_TEXTS,
        is_pair=True,
    ),
}
