"""Verdicts of tiny random classifiers, each against the model asked for one text at a time."""

import pytest
import torch

from drpt.data.example import Example, Message
from drpt.rewards.classifier import ClassifierReward, sigmoid, softmax
from drpt.rewards.reward import Answer
from tests.rewards.answers import answer
from tests.rewards.classifiers import load, save

TEXTS = ["you are so kind", "you", "", "so bad so bad you are so bad and mean", "something unknown", "kind kind kind you"]
GOOD_BAD = {0: "nothate", 1: "Very bad!"}


def reward(folder, **changed):
    keys = {
        "model": str(folder),
        "revision": None,
        "label": "nothate",
        "measure": "probability",
        "sign": 1,
        "text": "response",
        "batch_size": 2,
        "device": "cpu",
        "max_length": 16,
        "is_toxicity": False,
    }
    return ClassifierReward(**keys | changed)


def slow(folder, *texts, max_length=16):
    """Logits of one text or pair."""
    model, tokenizer = load(folder)
    with torch.no_grad():
        return model(**tokenizer(*texts, return_tensors="pt", truncation=True, max_length=max_length)).logits[0]


def centre(folder):
    """Shift the logits so that each label is likely in some of the texts and unlikely in others."""
    model, _ = load(folder)
    with torch.no_grad():
        model.classifier.bias -= torch.stack([slow(folder, text) for text in TEXTS]).mean(0)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return centre(save(tmp_path_factory.mktemp("two"), GOOD_BAD))


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_values_are_those_of_one_text_at_a_time(folder, batch_size):
    logits = [slow(folder, text) for text in TEXTS]
    given = [answer(text) for text in TEXTS]
    # Rows of a batch are rounded in another order.
    close = {"rel": 0, "abs": 1e-6}
    found = reward(folder, batch_size=batch_size)(given)
    assert [one.value for one in found] == pytest.approx([float(row.softmax(0)[0]) for row in logits], **close)
    assert [one.outcome for one in found] == [["nothate", "very_bad"][int(row.argmax())] for row in logits]
    assert len({one.outcome for one in found}) == 2
    assert {(one.toxicity, one.is_correct) for one in found} == {(None, None)}
    found = reward(folder, batch_size=batch_size, measure="logit", sign=-1, label=1)(given)
    assert [one.value for one in found] == pytest.approx([-float(row[1]) for row in logits], **close)


def test_no_answers_no_verdicts_and_no_model(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert reward(tmp_path)([]) == []


@pytest.mark.parametrize("measure", ["probability", "logit"])
def test_toxicity_is_the_probability_of_what_is_bad(folder, measure):
    given = [answer(text) for text in TEXTS]
    bad = [float(slow(folder, text).softmax(0)[1]) for text in TEXTS]
    by_good = reward(folder, label="nothate", sign=1, is_toxicity=True, measure=measure)(given)
    by_bad = reward(folder, label="Very bad!", sign=-1, is_toxicity=True, measure=measure)(given)
    assert [one.toxicity for one in by_good] == pytest.approx(bad, rel=0, abs=1e-6)
    assert [one.toxicity for one in by_bad] == pytest.approx(bad, rel=0, abs=1e-6)


def conversation(*turns, text):
    messages = (*(Message(role=role, content=content) for role, content in turns), Message(role="assistant", content="kind"))
    return Answer(example=Example(messages=messages, source="x"), text=text, is_finished=True, num_tokens=1)


def test_a_conversation_is_the_last_user_turn_and_the_answer(folder):
    turns = [("user", "so mean"), ("assistant", "bad"), ("user", "are you kind"), ("assistant", "so")]
    asked = conversation(*turns, text="so bad")
    (found,) = reward(folder, text="conversation", measure="logit")([asked])
    assert found.value == pytest.approx(float(slow(folder, "are you kind", "so bad")[0]), rel=0, abs=1e-6)
    (alone,) = reward(folder, measure="logit")([asked])
    assert alone.value == pytest.approx(float(slow(folder, "so bad")[0]), rel=0, abs=1e-6)
    (unasked,) = reward(folder, text="conversation", measure="logit")([conversation(("system", "you"), text="so bad")])
    assert unasked.value == pytest.approx(float(slow(folder, "", "so bad")[0]), rel=0, abs=1e-6)


def test_long_texts_are_cut_at_their_end_and_of_a_pair_the_longer_one(folder):
    long, short = reward(folder)([answer("you " * 14 + "bad " * 20), answer("you " * 14)])  # 14 words, a mark at each end
    assert long.value == pytest.approx(short.value, rel=0, abs=1e-6)
    pair = [conversation(("user", "you " * count), text="bad bad bad") for count in (10, 50)]  # 10 + 3 words and three marks
    cut, whole = reward(folder, text="conversation")(pair)
    assert cut.value == pytest.approx(whole.value, rel=0, abs=1e-6)


@pytest.mark.parametrize("labels", [{0: "toxic"}, {0: "toxic", 1: "threat", 2: "insult"}])
def test_labels_that_do_not_exclude_each_other_have_a_sigmoid_each(tmp_path, labels):
    problem = {"problem_type": "multi_label_classification"} if len(labels) > 1 else {}
    centre(save(tmp_path, labels, **problem))
    found = reward(tmp_path, label="toxic", sign=-1, is_toxicity=True)([answer(text) for text in TEXTS])
    for one, text in zip(found, TEXTS, strict=True):
        chances = slow(tmp_path, text).sigmoid()
        assert (one.value, one.toxicity) == pytest.approx((-float(chances[0]), float(chances[0])), rel=0, abs=1e-6)
        assert one.outcome == (labels[int(chances.argmax())] if chances.max() > 0.5 else "none")
    assert len({one.outcome for one in found}) > 1


def test_a_model_that_gives_numbers_has_logits_alone(tmp_path):
    save(tmp_path, {0: "score"}, problem_type="regression")
    (one,) = reward(tmp_path, label=0, measure="logit")([answer("so kind")])
    assert (one.value, one.outcome) == (pytest.approx(float(slow(tmp_path, "so kind")[0]), abs=1e-6), "scored")
    for changed in ({}, {"measure": "logit", "is_toxicity": True}):
        with pytest.raises(
            ValueError, match=r"^measure=.* has no probabilities.*regression.* Set measure=logit and is_toxicity=fal"
        ):
            reward(tmp_path, label=0, **changed)([answer("x")])


@pytest.mark.parametrize("label", ["nohate", 2, -1, "0"])
def test_a_label_that_the_model_lacks_is_named_with_those_it_has(folder, label):
    with pytest.raises(ValueError, match=r"^label=.*no such label\..* It has: 'nothate' \(0\), 'Very bad!' \(1\)\.$"):
        reward(folder, label=label)([answer("you")])


def test_what_is_no_number_is_refused(tmp_path):
    save(tmp_path, GOOD_BAD)
    model, _ = load(tmp_path)
    torch.nn.init.constant_(model.classifier.weight, 3e38)  # finite, and no sum of such products is
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"^model=.*: its logits \[.*\] for 'you' are not all finite"):
        reward(tmp_path)([answer("you")])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": ""}, r"^model='' must be a hub name, or a folder"),
        ({"model": "/no/such/folder"}, r"^model=/no/such/folder: no such folder, or no config\.json in it"),
        ({"label": True}, r"^label=True must be the name or index"),
        ({"label": None}, r"^label=None must be the name or index"),
        ({"measure": "logits"}, r"^measure='logits' is not known\. Did you mean 'logit'"),
        ({"sign": 0}, r"^sign=0 must be 1 \(the label is good\) or -1"),
        ({"sign": "+"}, r"^sign='\+' must be 1"),
        ({"text": "prompt"}, r"^text='prompt' is not known\. .*Choices: response, conversation"),
        ({"batch_size": 0}, r"^batch_size=0 must be at least 1: number of texts in a forward pass"),
        ({"batch_size": 1.5}, r"^batch_size=1\.5 must be a whole number"),
        ({"device": "gpu"}, r"^device='gpu' is not known\. .*Choices: auto, cpu, cuda"),
        ({"max_length": 7}, r"^max_length=7 must be at least 8"),
        ({"is_toxicity": "no"}, r"^is_toxicity='no' must be true or false"),
    ],
)
def test_values_have_rules(changed, message):
    with pytest.raises(ValueError, match=message):
        reward("some/model", **changed)


def test_probabilities_agree_with_torch_for_any_size():
    for row in ([0.0], [1.0, -2.0, 0.5], [1e4, -1e4], [-800.0, -801.0]):
        wanted = torch.tensor(row, dtype=torch.float64)
        assert softmax(row) == pytest.approx(wanted.softmax(0).tolist())
        assert [sigmoid(x) for x in row] == pytest.approx(wanted.sigmoid().tolist())
