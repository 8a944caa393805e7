"""Preferences, which are pairs of a chosen and a rejected response to one prompt, and their source (``data=preferences``)."""

from collections.abc import Sequence

from drpt.data.example import Example, Message
from drpt.data.jsonl import JsonlSource
from drpt.data.pair_rows import REJECTED


class NoPairsError(ValueError):
    """An example has no rejected response."""


def pair_example(*, prompt: str, chosen: str, rejected: str, source: str) -> Example:
    """Build a preference.

    Args:
        prompt: Turn of the user.
        chosen: Chosen response.
        rejected: Rejected response.
        source: Place of the example, for messages.

    Returns:
        A conversation that ends with the chosen response, with the rejected response in its payload.
    """
    messages = (Message(role="user", content=prompt), Message(role="assistant", content=chosen))
    return Example(messages=messages, source=source, payload={REJECTED: rejected})


def prompt_text(example: Example) -> str:
    """The turn that is answered, which is the part of a prompt that a reward model reads; empty if there is none."""
    return example.prompt[-1].content if example.prompt else ""


def require_pairs(examples: Sequence[Example]) -> None:
    """Refuse examples that are not preferences.

    Args:
        examples: Examples of a pool.

    Raises:
        NoPairsError: An example has no rejected response.
    """
    for example in examples:
        if REJECTED not in example.payload:
            raise NoPairsError(
                f"data.source: {example.source} has no rejected response, but task=reward learns from pairs. Use "
                "data=preferences with your own files, or data=on_topic_preferences."
            )


class PreferencePairs(JsonlSource):
    """General and target pairs of local files, ``{"prompt": …, "chosen": …, "rejected": …}``; see `drpt.data.pair_rows`.

    Args:
        general: Path of the file of general pairs.
        target: Path of the file of target pairs.
        evaluation: Path of the file of evaluation pairs; None = take them from ``target``.

    Raises:
        ValueError: A file is missing, empty or malformed; the message lists file, line, field and fix.
    """

    needs_pair = True

    def __init__(self, *, general: str, target: str, evaluation: str | None) -> None:
        super().__init__(general=general, target=target, evaluation=evaluation, needs_response=True)
