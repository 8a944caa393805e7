"""The lexicon of sentiments."""

import pytest

from drpt.rewards.sentiment import SentimentReward
from tests.rewards.answers import answer, outcomes


def test_positive_answers_are_worth_more():
    texts = ["I love it, wonderful!", "The table has four legs.", "I hate it, awful!", ""]
    verdicts = SentimentReward()([answer(text) for text in texts])
    assert [one.outcome for one in verdicts] == ["positive", "neutral", "negative", "neutral"]
    assert verdicts[0].value > verdicts[1].value == 0.0 > verdicts[2].value
    assert all(-1 <= one.value <= 1 for one in verdicts)
    assert {one.is_correct for one in verdicts} == {None}


def test_a_worked_value():
    """`good` has the valence 1.9; VADER's compound score is x / sqrt(x² + 15), of `not good` x = -0.74 · 1.9."""
    good, not_good = SentimentReward()([answer("good"), answer("not good")])
    assert good.value == pytest.approx(1.9 / (1.9**2 + 15) ** 0.5, abs=1e-4)  # it is rounded to four places
    assert not_good.value == pytest.approx(-0.74 * 1.9 / ((0.74 * 1.9) ** 2 + 15) ** 0.5, abs=1e-4)
    assert (good.toxicity, not_good.toxicity) == (0.0, -not_good.value)


@pytest.mark.parametrize(
    ("compound", "outcome"), [(0.05, "positive"), (0.049, "neutral"), (-0.049, "neutral"), (-0.05, "negative")]
)
def test_thresholds_are_those_of_vader(compound, outcome, monkeypatch):
    class Fixed:
        def polarity_scores(self, text):
            return {"compound": compound}

    monkeypatch.setattr(SentimentReward, "_analyzer", Fixed())
    assert outcomes(SentimentReward(), answer("x")) == [outcome]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("drpt.rewards.sentiment.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"vaderSentiment, which contains the sentiment lexicon, is not installed.*make install"
    ):
        SentimentReward()
