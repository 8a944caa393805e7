"""What is found in a rendered conversation: where the assistant's text stands, and what has to be said of it."""

from dataclasses import dataclass, field

# What may have to be said of an example that is trained on.
UNENDED = "unended"  # nothing that ends the turn is learned
CHANGED = "turns_changed"  # earlier assistant turns that a later rendering changes; they are not learned
CALLS_LOST = "tool_calls_lost"  # tool calls of earlier turns that the template does not write; the turns are not learned
THOUGHTS_LOST = "thoughts_lost"  # thoughts that the template does not write
CONTENT_LOST = "content_lost"  # what turns say beside tool calls, where the template writes the calls alone
PROMPT_DIFFERS = "prompt_differs"  # what stands before the answer is not what generation is given
DEVELOPER = "developer_as_system"  # developer turns that are written as system turns


@dataclass(kw_only=True)
class AssistantTurns:
    """Places in a rendered conversation."""

    text: str  # the whole conversation
    prompt: str  # what generation is given for the last turn
    learned: list[tuple[int, int]] = field(default_factory=list)  # characters [start, stop), in order
    end: str = ""  # the special token that ends an answer; empty where there is none
    ending: str = ""  # all that ends the last turn, without white space around it
    notes: dict[str, str] = field(default_factory=dict)  # keys as above, and an excerpt where it helps


def common_start(one: str, other: str) -> int:
    """Number of characters at the beginning that two texts share."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def difference(prompt: str, before: str) -> str:
    """In what a generation prompt and the text before an answer differ, for a message."""
    common = common_start(prompt, before)
    return f"{excerpt(prompt[common:])} in generation, {excerpt(before[common:])} in training"


def excerpt(text: str) -> str:
    """The beginning of a text, for a message."""
    return repr(text if len(text) <= 40 else f"{text[:37]}…")
