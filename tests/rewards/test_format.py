import pytest

from drpt.rewards.format import FinishedReward, FormatReward
from tests.rewards.answers import answer, outcomes


def test_a_pattern_matches_the_whole_text_over_line_breaks():
    term = FormatReward(pattern=r"<think>.*</think>\s*\d+")
    texts = ["<think>1\n2</think>\n8", "well <think></think>8", "<think></think>8.", "", "8"]
    assert outcomes(term, *map(answer, texts)) == ["formatted", *["unformatted"] * 4]
    good, bad = term([answer(text) for text in texts[:2]])
    assert (good.value, bad.value) == (1.0, 0.0)
    assert good.is_correct is bad.is_correct is None


@pytest.mark.parametrize("pattern", ["(", "*a", r"\1", "[z-a]"])
def test_a_broken_pattern_is_named_when_it_is_built(pattern):
    with pytest.raises(ValueError, match=r"^pattern=.* is not a regular expression: ") as error:
        FormatReward(pattern=pattern)
    assert repr(pattern) in str(error.value)


def test_an_answer_that_ended_by_itself_is_finished():
    whole, cut = FinishedReward()([answer("8"), answer("8", is_finished=False)])
    assert (whole.value, whole.outcome, whole.is_correct) == (1.0, "finished", None)
    assert (cut.value, cut.outcome, cut.is_correct) == (0.0, "cut", None)
