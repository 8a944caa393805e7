"""The assistant's text in a rendered conversation, with notes for the user; `drpt.data.find_turns` fills them in."""

from dataclasses import dataclass, field

# Notes on examples that are trained on.
UNENDED = "unended"  # no token that ends the turn is learned
CHANGED = "turns_changed"  # later turns change the rendering of earlier assistant turns, which are not learned
CALLS_LOST = "tool_calls_lost"  # the template omits tool calls of earlier turns, which are not learned
THOUGHTS_LOST = "thoughts_lost"  # the template omits the assistant's reasoning
CONTENT_LOST = "content_lost"  # the template omits the content of turns with tool calls
PROMPT_DIFFERS = "prompt_differs"  # the text before the answer differs from the generation prompt
DEVELOPER = "developer_as_system"  # developer turns are rendered as system turns


@dataclass(kw_only=True)
class AssistantTurns:
    """Positions of the assistant's text in a rendered conversation."""

    text: str  # whole conversation
    prompt: str  # generation prompt for the last turn
    learned: list[tuple[int, int]] = field(default_factory=list)  # ranges of learned characters [start, stop), in order
    end: str = ""  # special token that ends an answer; empty if there is none
    ending: str = ""  # text that ends the last turn, without surrounding white space
    notes: dict[str, str] = field(default_factory=dict)  # notes by the keys above, with an excerpt of the text or empty


def common_start(first: str, second: str) -> int:
    """Length of the longest common prefix of two texts, in characters."""
    pairs = zip(first, second, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def difference(prompt: str, before: str) -> str:
    """Describe how a generation prompt and the text before an answer differ."""
    common = common_start(prompt, before)
    return f"{excerpt(prompt[common:])} in generation, {excerpt(before[common:])} in training"


def excerpt(text: str) -> str:
    """Beginning of a text in quotes, for messages."""
    return repr(text if len(text) <= 40 else f"{text[:37]}…")
