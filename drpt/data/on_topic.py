"""A source of preferences without annotation: the answer to a question is preferred over the answer to another question."""

import importlib.util
import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from drpt.checks import check_choice
from drpt.data.example import Example
from drpt.data.preferences import pair_example
from drpt.data.shuffled import shuffled
from drpt.data.source import is_exact_match

_MODULE = "chatterbot_corpus"


class OnTopicPairs:
    """Pairs from the conversations of chatterbot-corpus (BSD-3), with one category as target data and others as general data.

    The first turn of a conversation is the prompt, the second the chosen response. Within a category every answer is rejected
    as often as it is chosen, so only its match with the question distinguishes the two. Half of the target's questions are for
    evaluation. The two halves share no answers, so an answer chosen in training is never rejected in evaluation. Target pairs
    for early stopping come from the training half.

    Args:
        target: Category of the target pairs.
        general: Categories of the general pairs.

    Raises:
        ValueError: The package is not installed, a category does not exist, or the target is also a general category.
    """

    is_endless = False
    has_responses = True

    def __init__(self, *, target: str, general: Sequence[str]) -> None:
        known = sorted(path.stem for path in _folder().glob("*.yml"))
        check_choice("target", target, known)
        if not general:
            raise ValueError("general=[]: give at least one category.")
        for name in general:
            check_choice("general", name, known)
        if target in general:
            raise ValueError(f"general: {target} is the target; remove it, or choose another target.")
        questions = _questions(target)
        self._target, self._evaluation = _pairs(target, questions[::2]), _pairs(target, questions[1::2])
        self._general = [pair for name in dict.fromkeys(general) for pair in _pairs(name, _questions(name))]

    def general(self, seed: int) -> Iterator[Example]:
        """See `drpt.data.source.Source.general`."""
        return shuffled(self._general, seed)

    def target(self, seed: int) -> Iterator[Example]:
        """See `drpt.data.source.Source.target`."""
        return shuffled(self._target, seed)

    def evaluation(self, seed: int) -> Iterator[Example]:
        """See `drpt.data.source.Source.evaluation`."""
        return shuffled(self._evaluation, seed)

    def is_correct(self, example: Example, response: str) -> bool:
        """See `drpt.data.source.is_exact_match`."""
        return is_exact_match(example, response)


def _folder() -> Path:
    spec = importlib.util.find_spec(_MODULE)
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "data" / "english"
        if folder.is_dir():
            return folder
    raise ValueError(
        "data.source: the package chatterbot-corpus is not installed. Run `make install`, or "
        "`pip install --no-deps chatterbot-corpus==1.3.3`; or use your own files with data=preferences."
    )


def _pairs(category: str, questions: Sequence[tuple[str, str]]) -> list[Example]:
    # Rotated by one place, each answer is rejected once. A single question has no other answer.
    others = [*questions[1:], *questions[:1]] if len(questions) > 1 else []
    return [
        pair_example(prompt=question, chosen=answer, rejected=other, source=f"{category}: {question}")
        for (question, answer), (_, other) in zip(questions, others, strict=False)
    ]


@cache
def _questions(category: str) -> tuple[tuple[str, str], ...]:
    """Distinct questions with distinct first answers, in a fixed random order."""
    # The C loader, if available, is ten times as fast.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (_folder() / f"{category}.yml").read_text(encoding="utf-8")
    answers: dict[str, str] = {}
    seen: set[str] = set()
    for turns in yaml.load(text, Loader=loader)["conversations"]:
        if len(turns) < 2 or not all(isinstance(turn, str) and turn.strip() for turn in turns[:2]):
            continue
        question, answer = turns[0].strip(), turns[1].strip()
        if question not in answers and answer not in seen:
            answers[question] = answer
            seen.add(answer)
    found = list(answers.items())
    random.Random(category).shuffle(found)
    return tuple(found)
