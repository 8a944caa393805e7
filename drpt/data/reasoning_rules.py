"""What reasoning-gym's scorers are not trusted with: families that are refused, and rules around the others' scores.

Found by an audit of every family (`tests/data/test_reasoning_audit.py` goes on auditing) with garbage, numbers, nothing, the
question as it is and a little changed, and parts of the right answer. Scorers give full marks to every text
(`game_of_life_halting`), to ``nan`` (`complex_arithmetic`), to numbers up to 1 away (`number_sorting`), to any text whose
letters A, B, C make a solution (`quantum_lock`), or never return (`coin_flip` from ``1e3000000``); and many give a little to
guesses: to ``None`` since it holds "on", to a number or time near the right one, to copies of the question's grid. Rules, in
this order:

1. Nothing, more than 10,000 characters (and twice the stored answer's), a text that repeats the question, a number with an
   exponent of four digits or more, and ``nan`` or ``inf`` where the stored answer has none are worth 0, and the scorer is not
   asked.
2. Full marks are for the stored answer, in the forms that models write (`drpt.data.reasoning_text.forms_of`), or where a
   rule of ours or the family's scorer says so of one of these forms; where the scorer says so of nonsense, for the stored
   answer alone, word for word.
3. Less than full marks are given for three things, since a guess or a copy of the question gets the rest, too: a solution that
   works and is longer than need be, as the scorer says (`LONGER`); more than half of the words or letters in their places, and
   more than the question's order has (`SHARES`); and the stored answer as a whole within another text, by the share that it
   has of it.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from drpt.data.reasoning_own import COMPARES_TEXTS, FORMS, OWN_RULES
from drpt.data.reasoning_text import forms_of, is_same, repeats_question, share_of_answer

_RUNS_CODE = "reasoning-gym's scorer of this family runs answers as Python code, and a model's answers are not to be run"
_HAS_NO_ANSWER = "its items store no answers, so that there is nothing to imitate or to compare with"
# Families whose scorers run what they are given as Python code, and so can be made to do anything, or never to end.
RUNS_ANSWERS = frozenset(
    {
        "binary_matrix",
        "countdown",
        "intermediate_integration",
        "n_queens",
        "polynomial_multiplication",
        "puzzle24",
        "simple_integration",
        "spiral_matrix",
        "string_insertion",
    }
)
STORES_NO_ANSWERS = frozenset({"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"})
# Why a family cannot be a target.
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(sorted(RUNS_ANSWERS), _RUNS_CODE),
    **dict.fromkeys(sorted(STORES_NO_ANSWERS), _HAS_NO_ANSWER),
}

NONSENSE = ("?", "nan", "qwz", "")
LONGER = frozenset({"knight_swap", "quantum_lock", "shortest_path", "tower_of_hanoi"})
SHARES = frozenset({"letter_jumble", "sentence_reordering", "spell_backward", "word_sorting"})
_CRUMB = 0.1  # what families give for the right form
_MAX_CHARACTERS = 10_000
_HUGE = re.compile(r"\d[eE][-+]?0*[1-9]\d{3,}")
_ANYTHING = re.compile(r".*", re.DOTALL)
_NO_NUMBER = re.compile(r"(?<![a-z])(?:nan|inf(?:inity)?)j?(?![a-z])", re.IGNORECASE)

Scorer = Callable[..., Any]  # Any: what a scorer gives


def score_answer(family: str, scorer: Scorer, item: Mapping[str, Any], text: str) -> float:
    """Score an answer by the rules above; what the scorer raises is passed on.

    Args:
        family: Name of a task family.
        scorer: reasoning-gym's scorer of the family.
        item: The item, as the family's data set made it.
        text: The answer.

    Returns:
        The score in [0, 1].

    Raises:
        ValueError: The scorer gives what is no number in [0, 1].
    """
    stored, question = str(item["answer"]), str(item.get("question", ""))
    if _is_worth_nothing(text, question=question, stored=stored):
        return 0.0
    forms = list(forms_of(text))
    if any(is_same(form, stored) for form in forms):
        return 1.0
    judge, error = _judge(family, scorer, item), None
    for form in forms:
        try:
            if judge(form):
                return 1.0
        except Exception as raised:  # scorers parse what they are given, and raise whatever comes of that
            error = raised
    score = _partial(family, scorer, item, forms[-1])
    if error is not None and not score:
        raise error
    return score


def _is_worth_nothing(text: str, *, question: str, stored: str) -> bool:
    if not text.strip() or len(text) > max(_MAX_CHARACTERS, 2 * len(stored)) or (question.strip() and question.strip() in text):
        return True
    if any(sign.search(text) and not sign.search(stored) for sign in (_HUGE, _NO_NUMBER)):
        return True
    return repeats_question(text, question, stored)


def _judge(family: str, scorer: Scorer, item: Mapping[str, Any]) -> Callable[[str], bool]:
    """What says whether a form of an answer is right, though it is not the stored one."""
    stored = str(item["answer"])
    if family in OWN_RULES:
        return lambda form: OWN_RULES[family](form, stored)
    if _has_one_answer(family, scorer):
        return lambda form: False
    if any(_score(scorer, item, nonsense) >= 1.0 for nonsense in NONSENSE if nonsense != stored):
        return lambda form: form.casefold() == stored.strip().casefold()
    pattern = FORMS.get(family, _ANYTHING)
    return lambda form: pattern.fullmatch(form) is not None and _number(scorer(answer=form, entry=dict(item))) == 1.0


def _has_one_answer(family: str, scorer: Scorer) -> bool:
    """Whether the family's scorer only compares texts; then it adds nothing but credit for what holds the stored one."""
    from reasoning_gym.dataset import ProceduralDataset

    return family in COMPARES_TEXTS or getattr(scorer, "__func__", None) is ProceduralDataset.score_answer


def _partial(family: str, scorer: Scorer, item: Mapping[str, Any], form: str) -> float:
    stored, question = str(item["answer"]), str(item.get("question", ""))
    if family in LONGER and FORMS.get(family, _ANYTHING).fullmatch(form):
        score = _score(scorer, item, form)
        return score if _CRUMB < score < 1.0 else 0.0
    if family in SHARES and len(form) <= len(stored):
        score, copied = (_score(scorer, item, one) for one in (form, question.rpartition(":")[2].strip()))
        if max(0.5, copied) < score < 1.0:
            return score
    return share_of_answer(form, stored, question)


def _score(scorer: Scorer, item: Mapping[str, Any], text: str) -> float:
    """The scorer's score; 0 where it gives up, as most do of a text that they cannot parse."""
    try:
        return _number(scorer(answer=text, entry=dict(item)))
    except Exception:  # whatever comes of parsing
        return 0.0


def _number(score: Any) -> float:
    found = float(score)
    if not (math.isfinite(found) and 0 <= found <= 1):
        raise ValueError(f"a score of {found}")
    return found
