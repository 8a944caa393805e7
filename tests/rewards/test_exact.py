from drpt.rewards.exact import ExactReward
from tests.rewards.answers import answer, outcomes


def test_white_space_at_the_ends_does_not_count():
    (verdict,) = ExactReward(ignore_case=False)([answer("\n yes ", "yes")])
    assert (verdict.value, verdict.outcome, verdict.is_correct) == (1.0, "correct", True)
    (verdict,) = ExactReward(ignore_case=False)([answer("y es", "yes")])
    assert (verdict.value, verdict.outcome, verdict.is_correct) == (0.0, "wrong", False)


def test_large_and_small_letters_count_unless_they_are_ignored():
    texts = [answer("YES", "yes"), answer("STRASSE", "straße"), answer("no", "yes"), answer("", "yes")]
    assert outcomes(ExactReward(ignore_case=False), *texts) == ["wrong"] * 4
    assert outcomes(ExactReward(ignore_case=True), *texts) == ["correct", "correct", "wrong", "wrong"]
