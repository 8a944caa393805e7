"""Loading classifiers, and what must not be loaded."""

import json

import pytest
import torch

from drpt.rewards.sequence_classifier import load_classifier
from tests.rewards.classifiers import load, save

TEXTS = ["you are so kind", "you", "", "so bad so bad you are so bad and mean", "something unknown"]
LABELS = {0: "good", 1: "bad"}


def loaded(folder, **changed):
    keys = {"revision": None, "device": "cpu", "batch_size": 6, "max_length": 16}
    return load_classifier(str(folder), **keys | changed)


def slow(folder, text):
    model, tokenizer = load(folder)
    with torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt")).logits[0].tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("two"), LABELS)


def test_logits_come_in_the_order_of_the_texts(folder):
    classifier = loaded(folder, batch_size=2)
    assert (classifier.labels, classifier.kind) == (("good", "bad"), "exclusive")
    assert not classifier.model.training
    assert not any(parameter.requires_grad for parameter in classifier.model.parameters())
    for row, text in zip(classifier.logits([(text,) for text in TEXTS]), TEXTS, strict=True):
        assert row == pytest.approx(slow(folder, text), rel=0, abs=1e-6)  # rows of a batch are rounded in another order
    assert classifier.logits([]) == []


@pytest.mark.parametrize(
    ("labels", "problem", "kind"),
    [
        ({0: "one"}, None, "independent"),
        ({0: "one"}, "regression", "numbers"),
        (LABELS, "multi_label_classification", "independent"),
        (LABELS, "single_label_classification", "exclusive"),
    ],
)
def test_kinds_of_labels(tmp_path, labels, problem, kind):
    assert loaded(save(tmp_path, labels, problem_type=problem)).kind == kind


def test_a_decoder_without_padding_of_its_own_is_padded(tmp_path):
    save(tmp_path, LABELS, is_decoder=True)
    rows = loaded(tmp_path).logits([(text,) for text in TEXTS])
    for row, text in zip(rows, TEXTS, strict=True):
        if text:  # the model itself can make nothing of no token
            assert row == pytest.approx(slow(tmp_path, text), rel=0, abs=1e-6)
    assert torch.tensor(rows).isfinite().all()
    assert loaded(tmp_path).logits([("",)]) == [pytest.approx(rows[2], rel=0, abs=1e-6)]


def test_weights_in_half_precision_are_computed_with_in_float32(tmp_path):
    save(tmp_path, LABELS)
    model, _ = load(tmp_path)
    model.bfloat16().save_pretrained(tmp_path)
    assert {parameter.dtype for parameter in loaded(tmp_path).model.parameters()} == {torch.float32}


def test_loading_leaves_random_states_alone(folder):
    before = torch.get_rng_state()
    loaded(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_cannot_be_loaded_is_named(tmp_path, folder):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match=r"^model=.*: cannot be loaded .*sequence classifier of transformers with weights in"):
        loaded(tmp_path)
    with pytest.raises(ValueError, match=r"^model=no/such-model, revision=v2: cannot be loaded"):
        loaded("no/such-model", revision="v2")
    with pytest.raises(ValueError, match=r"^max_length=33 must be at most 32, the longest text that"):
        loaded(folder, max_length=33)


def test_code_of_the_models_own_is_refused(tmp_path):
    save(tmp_path, LABELS)
    config = json.loads((tmp_path / "config.json").read_text()) | {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text("raise SystemExit('this ran')\n")
    with pytest.raises(ValueError, match=r"cannot be loaded .*needs no code of its own"):
        loaded(tmp_path)


def test_weights_of_pickle_are_refused(tmp_path):
    save(tmp_path, LABELS)
    model, _ = load(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"cannot be loaded .*safetensors"):
        loaded(tmp_path)


def test_a_model_without_a_trained_head_is_refused(tmp_path):
    save(tmp_path, LABELS)
    model, _ = load(tmp_path)
    model.bert.save_pretrained(tmp_path)
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match=r"lack 2 of its weights \(classifier\.bias, classifier\.weight\), which would be"):
        loaded(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_named(folder):
    with pytest.raises(ValueError, match=r"^device=cuda: torch finds no GPU here\. Set device=auto or cpu"):
        loaded(folder, device="cuda")
    assert loaded(folder, device="auto").model.device.type == "cpu"
