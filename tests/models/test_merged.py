import copy

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, TaskType, VeraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from drpt.models import merged
from drpt.models.merged import merged_weights, parameter_shapes, save_for_engine
from drpt.models.tiny import byte_tokenizer, tiny_model

IDS = torch.tensor([[5, 6, 7, 100, 3, 9]])


def lora(model, **changes):
    values = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "init_lora_weights": False}
    return get_peft_model(model, LoraConfig(**(values | changes))).eval()


def untied():
    config = copy.deepcopy(tiny_model().config)
    config.tie_word_embeddings = False
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def gpt2():
    sizes = {"vocab_size": 259, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=1, eos_token_id=2)).eval()


def assert_merged_equals(model, plain):
    weights = dict(merged_weights(model))
    assert list(weights) == [name for name, _ in plain.named_parameters()]
    plain.load_state_dict(weights, strict=False)  # tied names are left out
    plain.tie_weights()
    with torch.no_grad():
        torch.testing.assert_close(plain(IDS).logits, model(input_ids=IDS).logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("build", [tiny_model, untied, gpt2])
def test_a_plain_models_weights_are_its_own_each_once(build):
    model = build()
    weights = dict(merged_weights(model))
    assert list(weights) == [name for name, _ in model.named_parameters()]
    for name, parameter in model.named_parameters():
        assert weights[name].data_ptr() == parameter.data_ptr()
        assert not weights[name].requires_grad


@pytest.mark.parametrize("build", [tiny_model, untied, gpt2])
def test_adapters_are_merged_out_of_place(build):
    model = lora(build(), fan_in_fan_out=build is gpt2)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    assert_merged_equals(model, build())
    for name, values in model.state_dict().items():
        assert torch.equal(values, before[name])


def test_adapted_embeddings_are_merged():
    assert_merged_equals(lora(untied(), target_modules=["embed_tokens", "lm_head", "q_proj"]), untied())


def test_parameters_that_are_trained_whole_take_the_place_of_the_old_ones():
    model = lora(untied(), target_modules=["q_proj"], modules_to_save=["lm_head", "norm"])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "modules_to_save" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    assert_merged_equals(model, untied())


def test_copies_that_are_switched_off_are_not_taken():
    model = lora(untied(), target_modules=["q_proj"], modules_to_save=["norm"])
    with torch.no_grad():
        model.base_model.model.model.norm.modules_to_save["default"].weight.mul_(2.0)
    with model.disable_adapter():
        assert_merged_equals(model, untied())


def test_several_active_adapters_are_added_up():
    model = lora(tiny_model())
    model.add_adapter("other", LoraConfig(r=2, lora_alpha=3, target_modules=["q_proj"], init_lora_weights=False))
    model.base_model.set_adapter(["default", "other"])
    assert_merged_equals(model.eval(), tiny_model())


def test_adapters_that_are_merged_or_switched_off_are_not_added():
    model = lora(tiny_model())
    with model.disable_adapter():
        assert_merged_equals(model, tiny_model())
    model.merge_adapter()
    assert_merged_equals(model, tiny_model())


def test_a_layer_at_a_time_is_merged(monkeypatch):
    held = []
    original = merged._merged
    monkeypatch.setattr(merged, "_merged", lambda *layer: held.append(1) or original(*layer))
    weights = merged_weights(lora(tiny_model()))
    assert not held
    for name, _ in weights:
        if "q_proj" in name:
            break
    assert len(held) == 1


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"use_dora": True}, r"model\.layers\.0\.self_attn\.q_proj: only plain LoRA"),
        ({"lora_bias": True, "target_modules": ["down_proj"]}, r"down_proj: only plain LoRA"),
        ({"target_modules": ["embed_tokens"]}, "input and output embeddings share their weights"),
        ({"modules_to_save": ["lm_head"]}, "input and output embeddings share their weights"),
        ({"trainable_token_indices": [3]}, r"model\.embed_tokens: only plain LoRA"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # peft's own, about tied weights
def test_what_no_plain_model_equals_is_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        dict(merged_weights(lora(tiny_model(), **changes)))


@pytest.mark.parametrize(
    "config",
    [
        PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=2),
        VeraConfig(r=2, target_modules=["q_proj"]),
    ],
)
def test_other_kinds_of_adapters_are_refused(config):
    with pytest.raises(ValueError, match="only plain LoRA can be merged for an engine"):
        dict(merged_weights(get_peft_model(tiny_model(), config)))


def test_shapes_are_known_from_the_configuration():
    for model in (tiny_model(), untied(), gpt2()):
        assert parameter_shapes(model.config) == {name: values.shape for name, values in model.named_parameters()}


@pytest.mark.parametrize("shard_bytes", [2**31, 50_000])
def test_a_saved_folder_is_the_merged_model(tmp_path, monkeypatch, shard_bytes):
    monkeypatch.setattr(merged, "_SHARD_BYTES", shard_bytes)
    model, folder = lora(tiny_model()), tmp_path / "there" / "model"
    save_for_engine(model, byte_tokenizer(), folder)
    assert (len(list(folder.glob("*.safetensors"))) > 1) == (shard_bytes == 50_000)
    loaded = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(IDS).logits, model(input_ids=IDS).logits, rtol=1e-5, atol=1e-6)
    assert AutoTokenizer.from_pretrained(folder).chat_template == byte_tokenizer().chat_template


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "model"
    with pytest.raises(ValueError, match="only plain LoRA"):
        save_for_engine(lora(tiny_model(), use_dora=True), byte_tokenizer(), folder)
    assert list(tmp_path.iterdir()) == []
    folder.mkdir()  # an empty one is taken
    save_for_engine(tiny_model(), byte_tokenizer(), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    with pytest.raises(ValueError, match="already contains files"):
        save_for_engine(tiny_model(), byte_tokenizer(), folder)
