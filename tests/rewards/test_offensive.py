"""The embedded classifier of offensive language."""

import math

import pytest

from drpt.rewards.offensive import OffensiveReward
from tests.rewards.answers import answer

TEXTS = ["Thank you for your kind letter.", "Shut up, you stupid bastard.", "", "  \n", "It was 8."]


def test_offensive_answers_are_worth_less():
    verdicts = OffensiveReward(measure="probability")([answer(text) for text in TEXTS])
    assert [one.outcome for one in verdicts] == ["inoffensive", "offensive", "inoffensive", "inoffensive", "inoffensive"]
    assert all(one.value == pytest.approx(1 - one.toxicity) and 0 <= one.toxicity <= 1 for one in verdicts)
    assert all((one.outcome == "offensive") == (one.toxicity > 0.5) for one in verdicts)
    assert {one.is_correct for one in verdicts} == {None}
    assert verdicts[2].value == verdicts[3].value  # no word in either


def test_the_logit_is_that_of_being_inoffensive_and_bounded():
    given = [answer(text) for text in [*TEXTS, "fuck you " * 20]]
    for one in OffensiveReward(measure="logit")(given):
        good = 1 - one.toxicity
        wanted = math.log(good / one.toxicity) if 0 < good < 1 else math.copysign(math.inf, good - 0.5)
        assert one.value == pytest.approx(min(10.0, max(-10.0, wanted)))
    assert one.value == -10.0


def test_an_answer_is_judged_alone():
    reward = OffensiveReward(measure="probability")
    together = reward([answer(text) for text in TEXTS])
    alone = [verdict for text in TEXTS for verdict in reward([answer(text)])]
    assert [one.value for one in together] == pytest.approx([one.value for one in alone])
    assert reward([]) == []


def test_measures_have_names():
    with pytest.raises(
        ValueError, match=r"^measure='logits' is not known\. Did you mean 'logit'\? Choices: probability, logit"
    ):
        OffensiveReward(measure="logits")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("drpt.rewards.offensive.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"alt-profanity-check, which finds offensive language, is not installed.*make install"
    ):
        OffensiveReward(measure="logit")
