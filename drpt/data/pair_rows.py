"""Reads a row as a preference: a chosen and a rejected response, as texts or lists of turns."""

import re
from collections.abc import Mapping

from drpt.data.example import Example, Message
from drpt.data.record import RecordError, read_text
from drpt.data.turns import read_turns

REJECTED = "rejected"  # key of an example's payload
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def read_pair(record: Mapping[str, object]) -> Example:
    r"""Read a row as a preference.

    Args:
        record: Row by column. ``chosen`` and ``rejected`` are texts or lists of turns that end with the assistant's; ``prompt``
            is a text or a list of turns. Without ``prompt``, the turns before the last, which must be equal, are the prompt.
            Texts of whole dialogues (``\n\nHuman: … \n\nAssistant: …``) are read as turns.

    Returns:
        A conversation that ends with the chosen response, with the rejected response in its payload.

    Raises:
        RecordError: A field is missing or has a value of the wrong type, there is no prompt, the prompts differ, or the
            responses are equal.
    """
    chosen, rejected = _side(record, "chosen"), _side(record, "rejected")
    prompt = _prompt(record)
    if prompt is None:
        if len(chosen) < 2 or len(rejected) < 2:
            raise RecordError(
                "field 'prompt' is missing, and 'chosen' and 'rejected' are not lists of turns that begin with it: write "
                '{"prompt": …, "chosen": …, "rejected": …}.'
            )
        prompt = chosen[:-1]
    answers = [_answer(side, prompt, name) for side, name in ((chosen, "chosen"), (rejected, REJECTED))]
    if answers[0].content == answers[1].content:
        raise RecordError("fields 'chosen' and 'rejected' are the same text: a pair needs two different responses.")
    return Example(messages=(*prompt, answers[0]), source="", payload={REJECTED: answers[1].content})


def _prompt(record: Mapping[str, object]) -> list[Message] | None:
    value = record.get("prompt")
    if value is None and "prompt" not in record:
        return None
    if isinstance(value, list | tuple):
        return read_turns(value, "prompt")
    return [Message(role="user", content=read_text(record, "prompt"))]


def _side(record: Mapping[str, object], name: str) -> list[Message]:
    value = record.get(name)
    if isinstance(value, list | tuple):
        return read_turns(value, name)
    text = read_text(record, name)
    if "prompt" not in record and _SPEAKER.match(text):
        _, *parts = _SPEAKER.split(text)
        return [Message(role=_ROLES[who], content=said.strip()) for who, said in zip(parts[::2], parts[1::2], strict=True)]
    return [Message(role="assistant", content=text)]


def _answer(side: list[Message], prompt: list[Message], name: str) -> Message:
    """The last turn of a side; all earlier turns must be those of the prompt."""
    before, answer = side[:-1], side[-1]
    if answer.role != "assistant":
        raise RecordError(f"field '{name}' ends with the role {answer.role!r}; the last turn must be the assistant's.")
    if answer.tool_calls:
        raise RecordError(f"field '{name}' ends with a tool call, but a reward model reads only texts.")
    spoken = [turn for turn in prompt if turn.role not in {"system", "developer"}]
    if before and before not in (prompt, spoken):
        raise RecordError(
            f"field '{name}' differs from the prompt before its last turn: the two responses must answer the same turns "
            f"({len(before)} turns before the last, {len(prompt)} in the prompt)."
        )
    return answer
