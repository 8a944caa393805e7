"""Rules that make reasoning-gym's scorers safe as rewards: families that are refused, and restrictions on scores.

An audit of all families (repeated by `tests/data/test_reasoning_audit.py`) tried nonsense, numbers, empty texts, exact and
altered copies of the question, and parts of the correct answer. Some scorers give full marks to every text
(`game_of_life_halting`), to ``nan`` (`complex_arithmetic`), to numbers with an error of up to 1 (`number_sorting`), or to any
text whose letters A, B, C form a solution (`quantum_lock`); some never return (`coin_flip` for ``1e3000000``). Many give
partial credit to guesses: to ``None`` because it contains "on", to a nearby number or time, or to a copy of the question's
grid. The rules, in this order:

1. A score of 0 without calling the scorer: empty texts; texts of more than 10,000 characters that are also twice as long as the
   stored answer; texts that repeat the question; numbers with an exponent of at least four digits; ``nan`` or ``inf``, unless
   the stored answer contains it.
2. Full marks: the stored answer in any form that models write (`drpt.data.reasoning_text.forms_of`), or a form that drpt's own
   rule or the family's scorer accepts. If the scorer also accepts nonsense, only the literal stored answer counts.
3. Partial credit in three cases only, since guesses and copies of the question get it otherwise: a working solution that is
   longer than necessary, by the scorer's score (`LONGER`); more than half of the words or letters in place, and more than in
   the question's own order (`SHARES`); and the complete stored answer within a longer text, by its share of the length.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from drpt.data.reasoning_own import COMPARES_TEXTS, FORMS, OWN_RULES
from drpt.data.reasoning_text import forms_of, is_same, repeats_question, share_of_answer

_RUNS_CODE = "reasoning-gym's scorer of this family runs answers as Python code, which is unsafe for a model's answers"
_HAS_NO_ANSWER = "its items store no answers, so there is nothing to imitate or to compare with"
# Families whose scorers execute answers as Python code.
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
# Families that cannot be targets, with the reason.
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(sorted(RUNS_ANSWERS), _RUNS_CODE),
    **dict.fromkeys(sorted(STORES_NO_ANSWERS), _HAS_NO_ANSWER),
}

NONSENSE = ("?", "nan", "qwz", "")
LONGER = frozenset({"knight_swap", "quantum_lock", "shortest_path", "tower_of_hanoi"})
SHARES = frozenset({"letter_jumble", "sentence_reordering", "spell_backward", "word_sorting"})
_CRUMB = 0.1  # score that families give for the correct form alone
_MAX_CHARACTERS = 10_000
_HUGE = re.compile(r"\d[eE][-+]?0*[1-9]\d{3,}")
_ANYTHING = re.compile(r".*", re.DOTALL)
_NO_NUMBER = re.compile(r"(?<![a-z])(?:nan|inf(?:inity)?)j?(?![a-z])", re.IGNORECASE)

Scorer = Callable[..., Any]  # Any: scorers return different types


def score_answer(family: str, scorer: Scorer, item: Mapping[str, Any], text: str) -> float:
    """Score an answer by the rules above; errors of the scorer are passed on.

    Args:
        family: Name of a task family.
        scorer: reasoning-gym's scorer of the family.
        item: Item of the family's data set, with question and stored answer.
        text: Text of the answer.

    Returns:
        Score in [0, 1].

    Raises:
        ValueError: The scorer's result is not a number in [0, 1].
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
        except Exception as raised:  # scorers raise errors of any type when they parse answers
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
    """The rule that decides whether an answer other than the stored one is correct."""
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
    """Whether the family's scorer only compares texts, so that it need not be called."""
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
    """The scorer's score; 0 if it fails, as most do for texts that they cannot parse."""
    try:
        return _number(scorer(answer=text, entry=dict(item)))
    except Exception:  # scorers raise errors of any type when they parse answers
        return 0.0


def _number(score: Any) -> float:
    found = float(score)
    if not (math.isfinite(found) and 0 <= found <= 1):
        raise ValueError(f"a score of {found}")
    return found
