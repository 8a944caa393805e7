"""Preferences: two responses to one prompt, one chosen and one rejected."""

from collections.abc import Sequence

from drpt.data.example import Example, Message
from drpt.data.jsonl import JsonlSource
from drpt.data.pair_rows import REJECTED


class NoPairsError(ValueError):
    """Examples have no rejected response."""


def pair_example(*, prompt: str, chosen: str, rejected: str, source: str) -> Example:
    """A conversation that ends with the chosen response; the rejected one is in its payload.

    Args:
        prompt: The user's turn.
        chosen: Response.
        rejected: Response.
        source: Where it came from.

    Returns:
        The example.
    """
    messages = (Message(role="user", content=prompt), Message(role="assistant", content=chosen))
    return Example(messages=messages, source=source, payload={REJECTED: rejected})


def prompt_text(example: Example) -> str:
    """The part of a prompt that a reward model reads: the turn that is answered. Empty where there is none."""
    return example.prompt[-1].content if example.prompt else ""


def require_pairs(examples: Sequence[Example]) -> None:
    """Refuse examples that are no preferences.

    Args:
        examples: Of a pool.

    Raises:
        NoPairsError: One has no rejected response.
    """
    for example in examples:
        if REJECTED not in example.payload:
            raise NoPairsError(
                f"data.source: {example.source} has no rejected response, and task=reward learns from pairs. Take "
                "data=preferences with files of your own, or data=on_topic_preferences."
            )


class PreferencePairs(JsonlSource):
    """General and target pairs of local files, ``{"prompt": …, "chosen": …, "rejected": …}``; see `drpt.data.pair_rows`.

    Small files are read and checked at once, so that nothing starts on bad data.

    Args:
        general: File of general pairs.
        target: File of target pairs.
        evaluation: File of target pairs to measure with; None takes them out of ``target``.

    Raises:
        ValueError: A file is missing, empty or malformed; the message lists file, line, field and fix.
    """

    needs_pair = True

    def __init__(self, *, general: str, target: str, evaluation: str | None) -> None:
        super().__init__(general=general, target=target, evaluation=evaluation, needs_response=True)
