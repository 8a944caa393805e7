"""When two examples are the same one: the keys by which rows are counted once and pools are kept apart; no torch.

White space, case, Unicode form (NFKC) and system turns make no difference. Two examples ask the same if their whole prompts
are the same; a conversation also asks what its earlier assistant turns answer, so that a longer version of a held-out
conversation is found, and two that both begin with "Hi" are not the same. A plain text has no prompt: it is itself what is
compared.
"""

import unicodedata
from collections.abc import Mapping, Sequence

from drpt.data.example import Example, Message

Key = tuple[str, ...]
_SYSTEM = ("system", "developer")  # roles whose turns make no difference


def normalised(text: str) -> str:
    """A text without what makes no difference.

    Args:
        text: Any.

    Returns:
        Its NFKC form, case folded, runs of white space as one space, none at the ends.
    """
    # Folding can undo the form, and the form brings capitals forth: the second pass settles both.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def prompt_key(example: Example) -> Key:
    """What an example asks, the same for the same question.

    Args:
        example: Of a conversation, the turns before the last one count; of a plain text, the text.

    Returns:
        A role and a text a turn, system turns left out.
    """
    return _key(example.prompt) or ("text", normalised(example.response))


def row_key(example: Example) -> Key:
    """What makes a row another one: its prompt and its responses with their thoughts, the rejected one among them.

    Args:
        example: Conversation, plain text or preference.

    Returns:
        Longer than `prompt_key`; rows with the same one are one row written twice.
    """
    rejected = example.payload.get("rejected")
    last = example.messages[-1]
    response = normalised(f"{last.reasoning_content or ''} {spoken(last)}")  # several thoughts may lead to one answer
    return (*prompt_key(example), "response", response, "" if rejected is None else normalised(str(rejected)))


def spoken(turn: Message) -> str:
    """What a turn says: its content, and the calls of tools in it."""
    return " ".join([turn.content, *(f"{call.name} {call.arguments}" for call in turn.tool_calls)])


def asked_keys(example: Example) -> list[Key]:
    """What all of an example's assistant turns answer, the whole prompt last.

    Args:
        example: Conversation, plain text or preference.

    Returns:
        At least `prompt_key`; of generated arithmetic, the expression in the question too, whatever words are around it.
    """
    found = [
        _key(example.messages[:end])
        for end, message in enumerate(example.messages[:-1])
        if message.role == "assistant" and any(turn.role not in _SYSTEM for turn in example.messages[:end])
    ]
    return [*found, *_expression(example.payload), prompt_key(example)]


class Asked:
    """What the examples of a pool ask, and whether another example asks the same.

    One of the two asks the whole of what the other asks in one of its turns.
    """

    def __init__(self) -> None:
        self._whole: set[Key] = set()
        self._parts: set[Key] = set()

    def add(self, example: Example) -> None:
        """Take in an example.

        Args:
            example: An example of the pool.
        """
        self._whole |= {prompt_key(example), *_expression(example.payload)}
        self._parts |= set(asked_keys(example))

    def has(self, example: Example) -> bool:
        """Whether one of the examples asks what this one asks.

        Args:
            example: Perhaps of another pool.

        Returns:
            The answer.
        """
        keys = asked_keys(example)
        return keys[-1] in self._parts or not self._whole.isdisjoint(keys)


def _key(turns: Sequence[Message]) -> Key:
    return tuple(part for turn in turns if turn.role not in _SYSTEM for part in (turn.role, normalised(spoken(turn))))


def _expression(payload: Mapping[str, object]) -> list[Key]:
    """Of reasoning-gym's arithmetic: ``3 + 4`` is one problem, whether calculated or stated, and within ``-(3 + 4)``."""
    metadata = payload.get("metadata")
    expression = metadata.get("expression") if isinstance(metadata, Mapping) else None
    if not isinstance(expression, str) or not any(char.isdigit() for char in expression):
        return []
    core = "".join(expression.split())
    while (inner := core.removeprefix("-")[1:-1]) and core.removeprefix("-").startswith("(") and _is_balanced(inner):
        core = inner
    return [("expression", core)]


def _is_balanced(text: str) -> bool:
    """Whether the brackets of a text close in it, none before it opens: those around it are then a pair."""
    depth = 0
    for char in text:
        depth += {"(": 1, ")": -1}.get(char, 0)
        if depth < 0:
            return False
    return depth == 0
