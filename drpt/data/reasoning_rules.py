"""What reasoning-gym's scorers are not trusted with: families that are refused, and rules around the others' scores.

Found by an audit of every family with garbage, ``nan``, ``inf``, nothing, huge numbers and the question itself as answers
(`tests/data/test_reasoning_audit.py` goes on auditing): `game_of_life_halting` gives full marks to every text, `coin_flip` to
``0`` for any probability below 1 and never returns from ``1e3000000``, `complex_arithmetic` gives them to ``nan``, and several
families give a little to anything. Rules, in this order:

1. Nothing, more than 10,000 characters (and twice the stored answer's), a text that holds the whole question, a number with
   an exponent of four digits or more, and ``nan`` or ``inf`` where the stored answer has none are worth 0, and the scorer is
   not asked.
2. A family with a rule of its own below is judged by it alone.
3. An item whose scorer gives full marks to nonsense is judged by its stored answer, word for word.
4. A score below 1 that nonsense gets, too, is 0.
"""

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

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
_MAX_CHARACTERS = 10_000
_HUGE = re.compile(r"\d[eE][-+]?0*[1-9]\d{3,}")
_NO_NUMBER = re.compile(r"(?<![a-z])(?:nan|inf(?:inity)?)j?(?![a-z])", re.IGNORECASE)
_PROBABILITY = re.compile(r"\d{0,25}(?:\.\d{0,60})?(?:[eE]-?\d{1,3})?|\d{1,25}\s*/\s*\d{1,25}")
_TOLERANCE = Fraction(1, 10_000)

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
    stored = str(item["answer"])
    if _is_worth_nothing(text, question=str(item.get("question", "")), stored=stored):
        return 0.0
    if family in _OWN_RULES:
        return _OWN_RULES[family](text, stored)
    score = _number(scorer(answer=text, entry=dict(item)))
    if score == 0.0:
        return 0.0
    floor = max(_of_nonsense(scorer, item, nonsense) for nonsense in NONSENSE if nonsense != stored)
    if floor >= 1.0:
        return float(text.strip().casefold() == stored.strip().casefold())
    return 0.0 if score <= floor else score


def _is_worth_nothing(text: str, *, question: str, stored: str) -> bool:
    if not text.strip() or len(text) > max(_MAX_CHARACTERS, 2 * len(stored)) or (question.strip() and question.strip() in text):
        return True
    return any(sign.search(text) and not sign.search(stored) for sign in (_HUGE, _NO_NUMBER))


def _of_nonsense(scorer: Scorer, item: Mapping[str, Any], nonsense: str) -> float:
    try:
        return _number(scorer(answer=nonsense, entry=dict(item)))
    except Exception:  # scorers parse what they are given, and raise whatever comes of that
        return 0.0


def _number(score: Any) -> float:
    found = float(score)
    if not (math.isfinite(found) and 0 <= found <= 1):
        raise ValueError(f"a score of {found}")
    return found


def _probability(text: str, stored: str) -> float:
    """Full marks within 1e-4 and a hundredth of the probability, else none: the family's prefix of digits is no credit."""
    if not _PROBABILITY.fullmatch(text.strip()):
        raise ValueError("no probability")
    value, right = Fraction(text.strip().replace(" ", "")), Fraction(stored)
    return float(abs(value - right) <= min(_TOLERANCE, abs(right) / 100))


_OWN_RULES: Mapping[str, Callable[[str, str], float]] = {"coin_flip": _probability}
