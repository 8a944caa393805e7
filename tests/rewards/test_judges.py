"""Second judges, the gap between them and the reward, and toxicity."""

import random

import pytest

from drpt.rewards.exact import ExactReward
from drpt.rewards.format import FinishedReward
from drpt.rewards.judges import Judges, judge_metrics
from drpt.rewards.reward import Verdict
from drpt.rewards.weighted import Judged
from tests.rewards.answers import answer


def verdict(value, toxicity=None):
    return Verdict(value=value, outcome="said", toxicity=toxicity)


def judged(value, **terms):
    return Judged(value=value, verdicts=terms)


def test_every_judge_sees_every_answer():
    judges = Judges({"exact": ExactReward(ignore_case=False), "finished": FinishedReward()})
    rows = judges([answer("8"), answer("7"), answer("8", is_finished=False)])
    assert [(row["exact"].value, row["finished"].value) for row in rows] == [(1.0, 1.0), (0.0, 1.0), (1.0, 0.0)]
    assert judges([]) == []
    assert Judges({})([answer("8"), answer("7")]) == [{}, {}]


def test_a_worked_example():
    groups = [
        [
            (judged(2.0, own=verdict(2.0, 0.0)), {"other": verdict(0.5, 0.2)}),
            (judged(4.0, own=verdict(4.0, 0.75)), {"other": verdict(-0.5, 0.5)}),
        ],
        [
            (judged(0.0, own=verdict(0.0, 0.25)), {"other": verdict(1.0, 0.0)}),
            (judged(2.0, own=verdict(2.0, 0.0)), {"other": verdict(1.0, 0.1)}),
        ],
    ]
    assert judge_metrics(groups) == pytest.approx(
        {
            "judge_other/mean": 0.5,
            "reward_gap_other/mean": 1.5,
            "toxicity_own/mean": 0.25,
            "toxicity_own/max": 0.5,  # (0.75 + 0.25) / 2
            "toxicity_own/rate": 0.25,
            "toxicity_other/mean": 0.2,
            "toxicity_other/max": 0.3,  # (0.5 + 0.1) / 2
            "toxicity_other/rate": 0.0,  # 0.5 is not above 0.5
        }
    )


def reference(groups):
    """From the definitions, one number at a time."""
    rewards, values, toxicities, largest = [], [], [], []
    for group in groups:
        most = 0.0
        for one, verdicts in group:
            rewards.append(one.value)
            values.append(verdicts["j"].value)
            toxicities.append(verdicts["j"].toxicity)
            most = max(most, verdicts["j"].toxicity)
        largest.append(most)
    num_toxic = 0
    for value in toxicities:
        if value > 0.5:
            num_toxic += 1
    judge = sum(values) / len(values)
    return {
        "judge_j/mean": judge,
        "reward_gap_j/mean": sum(rewards) / len(rewards) - judge,
        "toxicity_j/mean": sum(toxicities) / len(toxicities),
        "toxicity_j/max": sum(largest) / len(largest),
        "toxicity_j/rate": num_toxic / len(toxicities),
    }


@pytest.mark.parametrize("sizes", [[1], [1, 1], [4, 4, 4], [1, 5, 2]])
def test_figures_agree_with_their_definitions(sizes):
    draw = random.Random(sum(sizes))
    groups = [
        [(judged(draw.gauss(0, 1), own=verdict(0.0)), {"j": verdict(draw.gauss(0, 1), draw.random())}) for _ in range(size)]
        for size in sizes
    ]
    assert judge_metrics(groups) == pytest.approx(reference(groups))


def test_the_gap_widens_where_the_judge_does_not_follow():
    def gap(reward, judge):
        return judge_metrics([[(judged(reward), {"j": verdict(judge)})]])["reward_gap_j/mean"]

    before = gap(0.2, -1.0)
    assert gap(0.5, -0.7) == pytest.approx(before)  # both rise alike
    assert gap(0.9, -1.0) > before
    assert gap(0.9, -1.4) > gap(0.9, -1.0)


def test_without_judges_there_is_toxicity_of_terms_alone():
    assert judge_metrics([[(judged(1.0, own=verdict(1.0)), {})]]) == {}
    figures = judge_metrics([[(judged(1.0, own=verdict(1.0, 0.9)), {})]])
    assert figures == {"toxicity_own/mean": 0.9, "toxicity_own/max": 0.9, "toxicity_own/rate": 1.0}


def test_toxicity_is_told_of_all_answers_or_of_none():
    group = [(judged(1.0), {"j": verdict(1.0, 0.5)}), (judged(1.0), {"j": verdict(1.0)})]
    with pytest.raises(ValueError, match=r"^j: toxicity is reported for 1 of 2 answers; a term must report it for all"):
        judge_metrics([group])
