"""A source of examples that a test lists, and pools drawn from it."""

import random

from drpt.data.example import Example, Message
from drpt.data.pools import draw_pools
from drpt.data.shuffled import shuffled
from drpt.data.spec import DataSpec


def talk(*texts, system=None, source="row"):
    """A conversation of the user's and the assistant's turns, in turn."""
    roles = ("user", "assistant")
    turns = [Message(role=roles[i % 2], content=text) for i, text in enumerate(texts)]
    return Example(messages=(*([Message(role="system", content=system)] if system else []), *turns), source=source)


def text(content):
    """A plain text."""
    return Example(messages=(Message(role="assistant", content=content),), source="text", is_plain_text=True)


class Lists:
    """A source of lists; evaluation examples are taken out of the target unless they are given."""

    is_endless = False
    has_responses = True

    def __init__(self, general, target, evaluation=None):
        self._general, self._target = general, target
        self._evaluation = target if evaluation is None else evaluation

    def general(self, seed):
        return shuffled(self._general, seed)

    def target(self, seed):
        return shuffled(self._target, seed)

    def evaluation(self, seed):
        return shuffled(self._evaluation, seed)

    def is_correct(self, example, response):
        return response == example.response


def drawn(source, *, exclusion_reason=None, seed=0, stopping_share=0.0, **changes):
    defaults = {
        "name": "lists",
        "source": {"_target_": "none"},
        "num_target": 4,
        "num_general": None,
        "num_eval": 4,
        "general_rows": 1,
        "target_rows": 1,
        "max_length": 64,
        "packing": False,
        "split_seed": 0,
    }
    return draw_pools(
        source, DataSpec(**(defaults | changes)), seed=seed, stopping_share=stopping_share, exclusion_reason=exclusion_reason
    )


_SYLLABLES = ["ba", "ce", "di", "fo", "gu", "ha", "ki", "lo", "mu", "ne", "pi", "ra", "so", "tu", "ve", "wi", "ya", "zo"]


def sentence(number, length=8):
    """Distinct sentences that share no words in a row."""
    draw = random.Random(number)
    return " ".join("".join(draw.choices(_SYLLABLES, k=3)) for _ in range(length))
