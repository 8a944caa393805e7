"""Terms and judges answer with numbers, or the run stops."""

import math

import pytest

from drpt.errors import NonFiniteRewardError
from drpt.rewards.judges import Judges
from drpt.rewards.reward import Verdict
from drpt.rewards.spec import RewardSpec
from drpt.rewards.weighted import WeightedReward, WeightedTerm
from tests.rewards.answers import answer

ANSWERS = [answer("good"), answer("bad" * 100), answer("worse")]


class Says:
    def __init__(self, *values, toxicity=None):
        self._verdicts = [Verdict(value=value, outcome="said", toxicity=toxicity) for value in values]

    def __call__(self, answers):
        return self._verdicts


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_term_that_gives_no_number_is_named_with_the_answer(value):
    reward = WeightedReward({"odd": WeightedTerm(term=Says(1.0, value, 2.0), weight=0.0)})
    said = (
        rf"^reward\.terms\.odd returns a value that is NaN or infinite for 1 of 3 answers: {value} for '(bad){{20}}…' to '\?'\."
    )
    with pytest.raises(NonFiniteRewardError, match=said):
        reward(ANSWERS)


def test_a_judge_and_its_toxicity_too():
    with pytest.raises(NonFiniteRewardError, match=r"^reward\.judges\.odd returns .* for 2 of 3 answers: nan for 'good'"):
        Judges({"odd": Says(math.nan, 0.0, math.nan)})(ANSWERS)
    with pytest.raises(NonFiniteRewardError, match=r"^reward\.judges\.odd returns .* for 3 of 3 answers"):
        Judges({"odd": Says(0.0, 0.0, 0.0, toxicity=math.nan)})(ANSWERS)


def test_a_sum_beyond_all_numbers_is_refused():
    reward = WeightedReward({"large": WeightedTerm(term=Says(1.0, 1e305, 2.0), weight=1e6)})
    with pytest.raises(NonFiniteRewardError, match=r"weighted sum .* lower the weights"):
        reward(ANSWERS)


@pytest.mark.parametrize(("weight", "is_taken"), [(1e-300, False), (-1e-9, False), (0.0, True), (1e-6, True), (-0.25, True)])
def test_weights_under_which_a_reward_vanishes_are_refused(weight, is_taken):
    terms = {"own": {"_target_": "tests.app.rewards.Alike", "weight": weight}}
    if is_taken:
        assert RewardSpec(name="own", terms=terms, judges={})
    else:
        with pytest.raises(ValueError, match=r"^reward\.terms\.own\.weight=.* must be 0 or at least 1e-06 in size"):
            RewardSpec(name="own", terms=terms, judges={})
