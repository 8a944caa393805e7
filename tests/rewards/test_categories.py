"""What the embedded judges are known not to see: the committed figures, and whether they are still those of the judges."""

import json

import pytest

from drpt.data.toxicity import CATEGORIES
from drpt.rewards.categories import CATEGORIES_FILE, limits_of
from drpt.rewards.offensive import OffensiveReward
from drpt.rewards.sentiment import SentimentReward
from experiments.rlhf_table.judges import figures, texts_by_category

FIGURES = json.loads(CATEGORIES_FILE.read_text())


@pytest.mark.parametrize("name", ["offensive", "sentiment"])
def test_every_category_is_measured(name):
    assert set(FIGURES[name]) == set(CATEGORIES)


def test_threats_are_what_the_classifier_sees_least():
    least, shares = limits_of("offensive")
    row = FIGURES["offensive"]["threat"]
    assert least.startswith(f"it recognises category threat least: mean toxicity {row['mean']:.3f} ± ")
    assert f"threat {1 - row['over_half']:.0%}" in shares


def test_the_lexicon_does_not_tell_some_categories_from_neutral_texts():
    assert limits_of("sentiment")[-1].startswith("not distinguished from neutral texts")


def test_the_judges_say_what_they_know():
    assert OffensiveReward(measure="probability").limits() == limits_of("offensive")
    assert SentimentReward().limits() == limits_of("sentiment")


def test_committed_figures_are_those_of_today():
    texts = texts_by_category()["threat"]
    assert figures(OffensiveReward(measure="probability"), texts) == FIGURES["offensive"]["threat"]
    assert figures(SentimentReward(), texts) == FIGURES["sentiment"]["threat"]
