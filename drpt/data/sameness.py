"""When two examples are the same one: the keys by which rows are counted once and pools are kept apart; no torch.

White space, case, Unicode form (NFKC) and system turns make no difference. Two examples ask the same if their whole prompts
are the same, the small talk before the question left out; a conversation also asks what its earlier assistant turns answer, so
that a longer version of a held-out conversation is found. A turn that asks nothing, such as "Hi", is the same only where it is
all that is said. A plain text has no prompt: it is itself what is compared. Sums are compared by their numbers and signs,
whatever words are around them, see `drpt.data.expressions`.
"""

from collections.abc import Mapping, Sequence

from drpt.data.example import Example, Message
from drpt.data.expressions import asked_sums, canonical
from drpt.data.small_talk import is_small_talk
from drpt.data.wording import folded

Key = tuple[str, ...]
SYSTEM_ROLES = ("system", "developer")  # roles whose turns make no difference


def normalised(text: str) -> str:
    """A text without what makes no difference.

    Args:
        text: Any.

    Returns:
        Its NFKC form, case folded, runs of white space as one space, none at the ends.
    """
    return " ".join(folded(text).split())


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


def telling_turns(turns: Sequence[Message]) -> list[Message]:
    """Turns without the system's, and without the small talk at the beginning.

    Args:
        turns: Of a conversation, up to an assistant's turn.

    Returns:
        All but the system's where nothing else than small talk is said.
    """
    own = [turn for turn in turns if turn.role not in SYSTEM_ROLES]
    first = next((i for i, turn in enumerate(own) if turn.role != "assistant" and not is_small_talk(turn.content)), None)
    if first is None or any(turn.tool_calls for turn in own[:first]):
        return own
    return own[first:]


class Asks:
    """What an example asks, as keys.

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
        self.sums: set[Key] = set()  # all that are asked anywhere
        self.own_sum: set[Key] = set()  # the one that is the question
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
        asks = Asks(example)
        self._whole |= {asks.whole} | asks.own_sum
        self._parts |= asks.parts | asks.sums

    def has(self, example: Example) -> bool:
        """Whether one of the examples asks what this one asks.

        Args:
            example: Perhaps of another pool.

        Returns:
            The answer.
        """
        return self.meets(Asks(example))

    def meets(self, asks: Asks) -> bool:
        """Whether one of the examples asks what another one asks, read once for several pools.

        Args:
            asks: What the other one asks.

        Returns:
            The answer.
        """
        of_this = {asks.whole} | asks.own_sum
        return not of_this.isdisjoint(self._parts) or not (asks.parts | asks.sums).isdisjoint(self._whole)


def groups_of_same(examples: Sequence[Example]) -> list[list[int]]:
    """Examples that ask the same, together: responses to one prompt, versions of one conversation, one sum in several words.

    Args:
        examples: Rows of a source.

    Returns:
        Places of the examples of each group, groups and places in the order of the rows.
    """
    parents = list(range(len(examples)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    asks = [Asks(example) for example in examples]
    firsts: dict[Key, int] = {}  # the first example whose whole question a key is
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
    """Of reasoning-gym's arithmetic: ``3 + 4`` is one problem, whether calculated or stated, and within ``-(3 + 4)``."""
    metadata = example.payload.get("metadata")
    expression = metadata.get("expression") if isinstance(metadata, Mapping) else None
    if not isinstance(expression, str) or not any(char.isdigit() for char in expression):
        return None
    return canonical(expression) or "".join(expression.split())
