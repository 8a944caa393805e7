"""Sums of terms and the figures of some answers."""

import pytest

from drpt.rewards.exact import ExactReward
from drpt.rewards.format import FinishedReward, FormatReward
from drpt.rewards.weighted import WeightedReward, WeightedTerm
from tests.rewards.answers import answer


def reward(**terms):
    return WeightedReward({name: WeightedTerm(term=term, weight=weight) for name, (term, weight) in terms.items()})


BOTH = reward(correct=(ExactReward(ignore_case=False), 1.0), finished=(FinishedReward(), -0.25))
ANSWERS = [answer("8"), answer("8", is_finished=False), answer("7"), answer("8")]


def test_terms_are_weighted_and_added():
    judged = BOTH(ANSWERS)
    assert [one.value for one in judged] == [0.75, 1.0, -0.25, 0.75]
    assert [one.is_correct for one in judged] == [True, True, False, True]
    assert [one.verdicts["finished"].outcome for one in judged] == ["finished", "cut", "finished", "finished"]
    assert BOTH([]) == []


def test_an_answer_is_correct_where_all_terms_that_judge_it_say_so():
    strict = reward(loose=(ExactReward(ignore_case=True), 1.0), strict=(ExactReward(ignore_case=False), 0.0))
    assert [one.is_correct for one in strict([answer("Yes", "yes"), answer("yes", "yes")])] == [False, True]
    form = reward(form=(FormatReward(pattern="8"), 1.0))
    assert [one.is_correct for one in form([answer("8")])] == [None]


def test_figures_of_several_terms():
    assert BOTH.metrics(BOTH(ANSWERS)) == pytest.approx(
        {
            "reward/mean": 0.5625,
            "reward/std": (sum((value - 0.5625) ** 2 for value in (0.75, 1.0, -0.25, 0.75)) / 4) ** 0.5,
            "reward_correct/mean": 0.75,
            "reward_finished/mean": 0.75,
            "correct_correct/share": 0.75,
            "correct_wrong/share": 0.25,
            "finished_finished/share": 0.75,
            "finished_cut/share": 0.25,
            "correct/share": 0.75,
        }
    )


def test_figures_of_one_term_that_judges_nothing():
    form = reward(form=(FormatReward(pattern="8"), 2.0))
    figures = form.metrics(form([answer("8"), answer("7")]))
    assert figures == {"reward/mean": 1.0, "reward/std": 1.0, "form_formatted/share": 0.5, "form_unformatted/share": 0.5}


def test_outcomes_are_counted_the_most_frequent_first():
    assert BOTH.outcomes(BOTH(ANSWERS)) == [
        {"term": "correct", "outcome": "correct", "count": 3, "share": 0.75},
        {"term": "correct", "outcome": "wrong", "count": 1, "share": 0.25},
        {"term": "finished", "outcome": "finished", "count": 3, "share": 0.75},
        {"term": "finished", "outcome": "cut", "count": 1, "share": 0.25},
    ]
    assert BOTH.outcomes([]) == []
