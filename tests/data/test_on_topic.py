"""Pairs of a corpus: nothing but the fit of question and answer tells which was chosen."""

import importlib.util

import pytest

from drpt.data.on_topic import OnTopicPairs


@pytest.fixture(scope="module")
def source():
    return OnTopicPairs(target="trivia", general=["science", "psychology"])


def test_every_answer_is_once_chosen_and_once_rejected(source):
    for stream in (source.general, source.target, source.evaluation):
        pairs = list(stream(0))
        chosen, rejected = [pair.response for pair in pairs], [pair.payload["rejected"] for pair in pairs]
        assert sorted(chosen) == sorted(rejected)
        assert all(a != b for a, b in zip(chosen, rejected, strict=True))


def test_pairs_are_of_one_category(source):
    of_category = {pair.response: pair.source.split(":")[0] for pair in source.general(0)}
    assert set(of_category.values()) == {"science", "psychology"}
    assert all(of_category[pair.payload["rejected"]] == pair.source.split(":")[0] for pair in source.general(0))


def test_no_answer_of_training_is_measured_with(source):
    answers = [{pair.response for pair in stream(0)} for stream in (source.target, source.evaluation)]
    assert not answers[0] & answers[1]


def test_there_is_enough_of_it(source):
    pairs = list(source.target(3))
    assert len(pairs) >= 120
    assert len({pair.prompt for pair in pairs}) == len(pairs)
    assert len(list(source.evaluation(3))) >= 120
    assert [pair.source for pair in source.target(4)] != [pair.source for pair in pairs]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"target": "trivias"}, r"target='trivias' is not known\. Did you mean 'trivia'"),
        ({"general": ["sience"]}, r"general='sience' is not known\. Did you mean 'science'"),
        ({"general": ["science", "trivia"]}, r"general: trivia is the target"),
        ({"general": []}, r"general=\[\]: give at least one category"),
    ],
)
def test_categories_that_cannot_be(keys, message):
    with pytest.raises(ValueError, match=message):
        OnTopicPairs(**{"target": "trivia", "general": ["science"]} | keys)


def test_a_missing_package_says_how_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install --no-deps chatterbot-corpus==1\.3\.3"):
        OnTopicPairs(target="trivia", general=["science"])
