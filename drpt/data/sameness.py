"""Decides when two examples ask the same question; pools use these keys to drop repetitions and stay disjoint; no torch.

White space, case, Unicode form (NFKC) and system turns are ignored. Two examples ask the same if their prompts are equal after
initial small talk. A conversation also asks the questions of its earlier turns, so that a longer version of a held-out
conversation is found. A turn that asks nothing, such as "Hi", counts only if it is the whole prompt. A plain text has no prompt
and is itself compared. Arithmetic problems are compared by their numbers and operators, whatever the wording; see
`drpt.data.expressions`.
"""

from collections.abc import Mapping, Sequence

from drpt.data.example import Example, Message
from drpt.data.expressions import asked_sums, canonical
from drpt.data.small_talk import is_small_talk
from drpt.data.wording import folded

Key = tuple[str, ...]
SYSTEM_ROLES = ("system", "developer")  # roles whose turns are ignored


def normalised(text: str) -> str:
    """Normalise a text for comparison.

    Args:
        text: Any text.

    Returns:
        NFKC form with folded case and single spaces, without surrounding white space.
    """
    return " ".join(folded(text).split())


def prompt_key(example: Example) -> Key:
    """Key of an example's prompt, equal for equal prompts.

    Args:
        example: Conversation, plain text or preference.

    Returns:
        Role and text of each turn before the last, without system turns; for a plain text, the text.
    """
    return _key(example.prompt) or ("text", normalised(example.response))


def row_key(example: Example) -> Key:
    """Key of a row, equal for repeated rows: its prompt and its responses, including reasoning and a rejected response.

    Args:
        example: Conversation, plain text or preference.

    Returns:
        `prompt_key` extended by the responses.
    """
    rejected = example.payload.get("rejected")
    last = example.messages[-1]
    response = normalised(f"{last.reasoning_content or ''} {spoken(last)}")  # different reasoning makes different rows
    return (*prompt_key(example), "response", response, "" if rejected is None else normalised(str(rejected)))


def spoken(turn: Message) -> str:
    """Text of a turn: its content and its tool calls."""
    return " ".join([turn.content, *(f"{call.name} {call.arguments}" for call in turn.tool_calls)])


def telling_turns(turns: Sequence[Message]) -> list[Message]:
    """Remove system turns and initial small talk.

    Args:
        turns: Turns of a conversation before an assistant turn.

    Returns:
        The remaining turns; if there is only small talk, it is kept.
    """
    own = [turn for turn in turns if turn.role not in SYSTEM_ROLES]
    first = next((i for i, turn in enumerate(own) if turn.role != "assistant" and not is_small_talk(turn.content)), None)
    if first is None or any(turn.tool_calls for turn in own[:first]):
        return own
    return own[first:]


class Asks:
    """The questions that an example asks, as keys.

    Args:
        example: Conversation, plain text or preference.
    """

    def __init__(self, example: Example) -> None:
        turns = example.prompt
        self.whole: Key = _key(telling_turns(turns)) or ("text", normalised(example.response))
        self.parts: set[Key] = {self.whole}
        for end, message in enumerate(turns):
            if message.role == "assistant" and not _is_small_talk(turns[:end]) and (part := _key(telling_turns(turns[:end]))):
                self.parts.add(part)
        self.sums: set[Key] = set()  # arithmetic problems in any turn
        self.own_sum: set[Key] = set()  # the arithmetic problem that is the whole last question
        if (stored := _stored_sum(example)) is not None:
            self.sums = self.own_sum = {("sum", stored)}
            return
        users = [turn.content for turn in turns if turn.role == "user"]
        for text in users:
            found = asked_sums(text)
            self.sums |= {("sum", key) for key in found.asked}
            if text is users[-1] and found.is_all:
                self.own_sum = {("sum", found.asked[-1])}


class Asked:
    """The questions of a pool's examples.

    Another example asks the same if its whole question is asked in any turn of an example in the pool, or the other way round.
    """

    def __init__(self) -> None:
        self._whole: set[Key] = set()
        self._parts: set[Key] = set()

    def add(self, example: Example) -> None:
        """Add an example of the pool."""
        asks = Asks(example)
        self._whole |= {asks.whole} | asks.own_sum
        self._parts |= asks.parts | asks.sums

    def has(self, example: Example) -> bool:
        """Whether an example of the pool asks the same as another example."""
        return self.meets(Asks(example))

    def meets(self, asks: Asks) -> bool:
        """Whether an example of the pool asks the same, given the questions of another example."""
        of_this = {asks.whole} | asks.own_sum
        return not of_this.isdisjoint(self._parts) or not (asks.parts | asks.sums).isdisjoint(self._whole)


def groups_of_same(examples: Sequence[Example]) -> list[list[int]]:
    """Group examples that ask the same, such as responses to one prompt or versions of one conversation.

    Args:
        examples: Rows of a source.

    Returns:
        Indices of the examples in each group, in the order of the rows.
    """
    parents = list(range(len(examples)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    asks = [Asks(example) for example in examples]
    firsts: dict[Key, int] = {}  # index of the first example with a whole question, by key
    for place, ask in enumerate(asks):
        for key in {ask.whole} | ask.own_sum:
            parents[root(place)] = root(firsts.setdefault(key, place))
    for place, ask in enumerate(asks):
        for key in ask.parts | ask.sums:
            if key in firsts:
                parents[root(place)] = root(firsts[key])
    found: dict[int, list[int]] = {}
    for place in range(len(examples)):
        found.setdefault(root(place), []).append(place)
    return list(found.values())


def _key(turns: Sequence[Message]) -> Key:
    own = (turn for turn in turns if turn.role not in SYSTEM_ROLES)
    return tuple(part for turn in own for part in (turn.role, normalised(spoken(turn))))


def _is_small_talk(turns: Sequence[Message]) -> bool:
    return all(is_small_talk(turn.content) for turn in turns if turn.role == "user")


def _stored_sum(example: Example) -> str | None:
    """Arithmetic problem stored with an item of reasoning-gym, in canonical form; None if there is none."""
    metadata = example.payload.get("metadata")
    expression = metadata.get("expression") if isinstance(metadata, Mapping) else None
    if not isinstance(expression, str) or not any(char.isdigit() for char in expression):
        return None
    return canonical(expression) or "".join(expression.split())
