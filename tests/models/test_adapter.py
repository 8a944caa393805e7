"""A LoRA adapter's folder: continued or merged as its configuration says, and refused as a model."""

import copy
import json
import logging

import pytest
import torch
from peft import IA3Config, LoraConfig, PromptTuningConfig, TaskType, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from drpt.models.adapter_folder import AdapterFolderError, read_adapter
from drpt.models.load import apply_finetune, load_model
from drpt.models.merged import merged_weights, save_for_engine
from drpt.models.pretrained import LoadingError, load_pretrained
from drpt.models.reference import ReferenceModel
from drpt.models.shapes import meta_model
from drpt.models.spec import FinetuneSpec
from drpt.models.tiny import byte_tokenizer
from tests.models.folders import gpt2, llama, save, spec

IDS = torch.tensor([[5, 6, 7, 100, 3, 9]])
LORA = {"method": "lora", "rank": None, "alpha": None, "dropout": 0.0, "target_modules": None, "default_lr": 1e-4}
FULL = LORA | {"method": "full", "dropout": None}


def finetune(folder, base=LORA, **changes):
    return FinetuneSpec(**(base | {"adapter": str(folder)} | changes))


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def adapted(model, folder, config=None, **changes):
    """An adapter with values of its own in a folder; what the model says with it."""
    values = {"r": 4, "lora_alpha": 12, "target_modules": ["q_proj", "v_proj"], "task_type": TaskType.CAUSAL_LM}
    config = config or LoraConfig(**values | changes)
    wrapped = get_peft_model(copy.deepcopy(model), config)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    wrapped.save_pretrained(folder)
    return logits(wrapped)


def change(folder, **keys):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


@pytest.fixture
def places(tmp_path):
    """A model's folder and an adapter's, and what the two say together."""
    save(tmp_path / "model", llama())
    return tmp_path / "model", tmp_path / "adapter", adapted(load_model(spec(tmp_path / "model")).model, tmp_path / "adapter")


KINDS = {
    "plain": (llama, {}),
    "ranks by layer": (llama, {"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"q_proj": 5}}),
    "rank-stabilised": (llama, {"use_rslora": True}),
    "on embeddings": (llama, {"target_modules": ["embed_tokens", "q_proj"]}),
    "beside a norm trained whole": (llama, {"modules_to_save": ["norm"]}),
    "in layer 1 alone": (llama, {"layers_to_transform": [1]}),
    "of transposed weights": (gpt2, {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:.*embedding layers.*:UserWarning")
def test_a_continued_and_a_merged_adapter_say_what_it_said(tmp_path, kind):
    build, changes = KINDS[kind]
    expected = adapted(build(), tmp_path, **changes)
    model, before = build(), torch.get_rng_state()
    continued = apply_finetune(model, finetune(tmp_path), seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    trained = {name for name, parameter in continued.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("lora_" in name or "modules_to_save" in name for name in trained)
    assert all(module.training for module in continued.modules())
    torch.testing.assert_close(logits(continued), expected, rtol=0, atol=0)
    merged = apply_finetune(build(), finetune(tmp_path, FULL), seed=0)
    assert all(parameter.requires_grad for parameter in merged.parameters())
    assert [name for name, _ in merged.named_parameters()] == [name for name, _ in build().named_parameters()]
    # W x + s B A x is rounded otherwise than (W + s B A) x.
    torch.testing.assert_close(logits(merged), expected, rtol=1e-5, atol=1e-6)


def test_a_merged_adapter_makes_room_for_a_new_one(places):
    model, folder, expected = places
    new = {"rank": 2, "alpha": 4.0, "adapter_use": "merge"}
    twice = [apply_finetune(load_model(spec(model)).model, finetune(folder, **new), seed=1) for _ in range(2)]
    torch.testing.assert_close(logits(twice[0]), expected, rtol=1e-5, atol=1e-6)  # rounding, see above
    assert twice[0].peft_config["default"].r == 2
    for a, b in zip(twice[0].parameters(), twice[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_dropout_is_of_the_training(places):
    model, folder, _ = places
    change(folder, lora_dropout=0.5)
    continued = apply_finetune(load_model(spec(model)).model, finetune(folder, dropout=0.125), seed=0)
    assert {module.p for module in continued.modules() if isinstance(module, torch.nn.Dropout)} == {0.125}


@pytest.mark.parametrize("use", ["continue", "merge"])
def test_an_engine_gets_the_merged_weights(places, tmp_path, use):
    model, folder, expected = places
    changes = {"rank": 2, "alpha": 4.0} if use == "merge" else {}
    policy = apply_finetune(load_model(spec(model)).model, finetune(folder, adapter_use=use, **changes), seed=0)
    plain = dict(load_model(spec(model)).model.named_parameters())
    weights = dict(merged_weights(policy))
    assert weights.keys() == plain.keys()
    save_for_engine(policy, byte_tokenizer(), tmp_path / "engine")
    engine = AutoModelForCausalLM.from_pretrained(tmp_path / "engine")
    torch.testing.assert_close(logits(engine), expected, rtol=1e-5, atol=1e-6)  # rounding, see above


@pytest.mark.parametrize("use", ["continue", "merge"])
def test_the_reference_is_the_model_that_training_began_with(places, use):
    model, folder, expected = places
    changes = {"rank": 2, "alpha": 4.0} if use == "merge" else {}
    policy = apply_finetune(load_model(spec(model)).model, finetune(folder, adapter_use=use, **changes), seed=0)
    reference = ReferenceModel(policy)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    assert not torch.allclose(logits(policy), expected, atol=1e-3)
    with reference.active() as there:
        torch.testing.assert_close(logits(there), expected, rtol=1e-5, atol=1e-6)  # rounding, see above
        own = {parameter.data_ptr() for parameter in there.parameters()}
    frozen = {parameter.data_ptr() for parameter in policy.parameters() if not parameter.requires_grad}
    assert frozen <= own  # only what is trained may be there twice
    assert all(parameter.requires_grad == ("lora_" in name) for name, parameter in policy.named_parameters())


def test_shapes_of_an_adapted_model_need_no_values(places):
    model, folder, _ = places
    for given in (finetune(folder), finetune(folder, FULL), finetune(folder, rank=2, alpha=4.0, adapter_use="merge")):
        shapes = meta_model(spec(model), given)
        loaded = apply_finetune(load_model(spec(model)).model, given, seed=0)
        assert all(parameter.is_meta for parameter in shapes.parameters())
        assert {name: (p.shape, p.requires_grad) for name, p in shapes.named_parameters()} == {
            name: (p.shape, p.requires_grad) for name, p in loaded.named_parameters()
        }


@pytest.mark.parametrize("name", ["adapter", "./adapter", "{}/adapter"])
def test_as_a_model_an_adapter_is_refused_by_any_name(places, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    name = name.format(tmp_path)
    with pytest.raises(
        ValueError, match=rf"^model\.name={name}: the folder contains an adapter .*finetune\.adapter={name}: finetune"
    ):
        load_model(spec(name))


def test_an_adapter_beside_a_model_is_refused(places):
    model, folder, _ = places
    (model / "adapter_config.json").write_text((folder / "adapter_config.json").read_text())
    with pytest.raises(ValueError, match=r"contains an adapter \(adapter_config\.json\) beside a model"):
        load_model(spec(model))


def test_an_adapter_is_no_classifier_either(places):
    with pytest.raises(LoadingError, match=r"^model=mine: this is an adapter .* merge it first"):
        load_pretrained(AutoModelForCausalLM, places[1], label="model=mine", seed=0)


def test_another_models_name_is_said(places, caplog):
    model, folder, _ = places
    with caplog.at_level(logging.WARNING):
        apply_finetune(load_model(spec(model)).model, finetune(folder), seed=0)
        assert not caplog.records  # the folder's own name
        change(folder, base_model_name_or_path="someone/Other-1B")
        apply_finetune(load_model(spec(model)).model, finetune(folder), seed=0)
    assert "it was trained on someone/Other-1B, and the model here is model" in caplog.text


def weights(folder, edit):
    path = folder / "adapter_model.safetensors"
    save_file(edit(load_file(path)), path)


def test_an_adapter_of_another_model_is_refused(places, tmp_path):
    model, folder, _ = places
    with pytest.raises(
        AdapterFolderError, match=r"^finetune\.adapter=.*lacks 4 \(.*layers\.2.* trained on .*model\. Set model\.name"
    ):
        apply_finetune(llama(num_hidden_layers=3), finetune(folder), seed=0)
    with pytest.raises(AdapterFolderError, match=r"has no place in this model for 4 \(base_model\.model\.model\.layers\.1"):
        apply_finetune(llama(num_hidden_layers=1), finetune(folder), seed=0)
    with pytest.raises(AdapterFolderError, match=r"has other shapes for 8 \(.*q_proj\.lora_A\.weight \(4, 32\) for \(4, 64\)"):
        apply_finetune(llama(hidden_size=64), finetune(folder), seed=0)
    with pytest.raises(AdapterFolderError, match=r"it does not fit the model: Target modules .*not found"):
        apply_finetune(gpt2(), finetune(folder), seed=0)
    del model, tmp_path


@pytest.mark.filterwarnings("ignore:.*embedding layers.*:UserWarning")
def test_embeddings_saved_beside_an_adapter_are_the_models_own(tmp_path):
    adapted(llama(), tmp_path, target_modules=["embed_tokens", "q_proj"])
    (name,) = (name for name in load_file(tmp_path / "adapter_model.safetensors") if "embed_tokens.base_layer" in name)
    weights(tmp_path, lambda state: state | {name: state[name] + 1.0})
    with pytest.raises(AdapterFolderError, match=rf"has no place in this model for 1 \({name}\)"):
        apply_finetune(llama(), finetune(tmp_path), seed=0)


def test_spoiled_weights_are_refused(places):
    model, folder, _ = places
    weights(folder, lambda state: state | {min(state): torch.full_like(state[min(state)], torch.inf)})
    with pytest.raises(AdapterFolderError, match=r"numbers that are not finite in 1 \("):
        apply_finetune(load_model(spec(model)).model, finetune(folder, FULL), seed=0)
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(AdapterFolderError, match=r"adapter_model\.safetensors is truncated or damaged"):
        apply_finetune(load_model(spec(model)).model, finetune(folder), seed=0)


@pytest.mark.filterwarnings("ignore")  # peft's own, about tied weights
def test_what_no_plain_model_equals_is_not_merged(tmp_path):
    adapted(llama(tie_word_embeddings=True), tmp_path, modules_to_save=["lm_head"])
    with pytest.raises(AdapterFolderError, match=r"it cannot be merged: .*share their weights"):
        apply_finetune(llama(tie_word_embeddings=True), finetune(tmp_path, FULL), seed=0)


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (IA3Config(target_modules=["k_proj"], feedforward_modules=[]), "this adapter is of type IA3; only LoRA can be"),
        (
            PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=2),
            "this adapter is of type PROMPT_TUNING; only LoRA",
        ),
    ],
)
def test_other_kinds_of_adapters_are_refused_by_name(tmp_path, config, match):
    adapted(llama(), tmp_path, config)
    with pytest.raises(AdapterFolderError, match=match):
        read_adapter(finetune(tmp_path))


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"use_dora": True}, r"with use_dora=True it is not plain LoRA"),
        ({"bias": "all"}, r"with bias=all it is not plain LoRA"),
        ({"trainable_token_indices": [3]}, r"with trainable_token_indices=\[3\] it is not plain LoRA"),
        ({"something_of_tomorrow": True}, r"with something_of_tomorrow=True it is not plain LoRA"),
        ({"init_lora_weights": "pissa"}, r"init_lora_weights=pissa changed the model's own weights"),
        ({"task_type": "SEQ_CLS"}, r"this adapter is for SEQ_CLS; only adapters for CAUSAL_LM"),
        ({"r": None}, r"lacks r or lora_alpha"),
    ],
)
def test_more_than_plain_lora_is_refused_before_a_model_is_loaded(places, keys, match):
    change(places[1], **keys)
    for base in (LORA, FULL):
        with pytest.raises(AdapterFolderError, match=rf"^finetune\.adapter=.*{match}"):
            read_adapter(finetune(places[1], base))


def test_a_folder_without_an_adapter_is_refused(places, tmp_path):
    model, folder, _ = places
    for place in (tmp_path / "nowhere", model):
        with pytest.raises(AdapterFolderError, match=r"there is no adapter_config\.json\. Give a local folder"):
            read_adapter(finetune(place))
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(
        AdapterFolderError, match=r"no adapter_model\.safetensors \(it contains adapter_model\.bin, but only safetensors"
    ):
        read_adapter(finetune(folder))
    (folder / "adapter_model.bin").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("[]")
    with pytest.raises(AdapterFolderError, match=r"its adapter_config\.json was not written by peft"):
        read_adapter(finetune(folder))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (
            {"rank": 8},
            r"^finetune\.rank=8: the adapter in .* has 4, which continuing it cannot change\. Leave finetune\.rank null, or",
        ),
        ({"alpha": 16.0}, r"^finetune\.alpha=16\.0: the adapter in .* has 12"),
        ({"target_modules": ["q_proj"]}, r"^finetune\.target_modules=\['q_proj'\]: the adapter in .* has \[.*v_proj"),
    ],
)
def test_settings_that_contradict_a_continued_adapter_are_refused(places, settings, match):
    with pytest.raises(AdapterFolderError, match=match):
        read_adapter(finetune(places[1], **settings))
    agreeing = {"rank": 4, "alpha": 12.0, "target_modules": ["v_proj", "q_proj"]}
    assert read_adapter(finetune(places[1], **agreeing)).settings["r"] == 4


def test_a_rank_by_layer_agrees_with_no_single_number(places):
    change(places[1], rank_pattern={"q_proj": 2})
    with pytest.raises(AdapterFolderError, match=r"^finetune\.rank=4: the adapter in .* has 4 and \{'q_proj': 2\}"):
        read_adapter(finetune(places[1], rank=4))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (LORA | {"adapter": None}, "finetune=lora needs finetune.rank, finetune.alpha"),
        (LORA | {"adapter": "a", "adapter_use": "merge"}, "finetune=lora needs finetune.rank, finetune.alpha"),
        (LORA | {"adapter": "a", "dropout": None}, "finetune=lora needs .* finetune.dropout"),
        (LORA | {"adapter": "a", "rank": 0}, r"finetune\.rank=0 must be at least 1"),
        (LORA | {"adapter_use": "merge"}, r"finetune\.adapter_use=merge needs finetune\.adapter"),
        (
            LORA | {"adapter": "a", "adapter_use": "fuse"},
            r"finetune\.adapter_use='fuse' is not known.* Choices: continue, merge",
        ),
        (FULL | {"adapter": "a", "adapter_use": "continue"}, r"adapter_use=continue needs finetune=lora"),
        (FULL | {"method": "head", "adapter": "a"}, r"finetune\.adapter=a: finetune=head trains a head"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(values, match):
    with pytest.raises(ValueError, match=match):
        FinetuneSpec(**values)
