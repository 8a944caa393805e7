import pytest
import torch

from drpt.models.load import apply_finetune, count_parameters, load_model
from drpt.models.spec import FinetuneSpec, ModelSpec

LORA = {"method": "lora", "rank": 2, "alpha": 4.0, "dropout": 0.0, "target_modules": None, "default_lr": 1e-4}


def spec(**changes):
    defaults = {"source": "tiny", "name": None, "revision": None, "chat_template": "own", "gradient_checkpointing": False}
    return ModelSpec(**(defaults | changes))


def test_tiny_model_is_always_the_same_and_leaves_the_random_state():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = load_model(spec()).model, load_model(spec()).model
    assert torch.equal(torch.rand(3), expected)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_local_folder_of_safetensors_is_loaded(tmp_path):
    saved = load_model(spec())
    saved.model.save_pretrained(tmp_path)
    saved.tokenizer.save_pretrained(tmp_path)
    loaded = load_model(spec(source="hub", name=str(tmp_path)))
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(loaded.model(ids).logits, saved.model(ids).logits)
    assert loaded.tokenizer.chat_template == saved.tokenizer.chat_template


def test_pickled_weights_are_refused(tmp_path):
    saved = load_model(spec())
    saved.model.save_pretrained(tmp_path)
    saved.tokenizer.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(saved.model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"model\.name=.*cannot be loaded .*safetensors"):
        load_model(spec(source="hub", name=str(tmp_path)))


def test_remote_code_is_refused(tmp_path):
    saved = load_model(spec())
    saved.tokenizer.save_pretrained(tmp_path)
    marker = tmp_path / "was_run"
    (tmp_path / "config.json").write_text(
        '{"model_type": "mine", "auto_map": {"AutoConfig": "code.Mine", "AutoModelForCausalLM": "code.Mine"}}'
    )
    (tmp_path / "code.py").write_text(f"open({str(marker)!r}, 'w')\n")
    with pytest.raises(ValueError, match=r"needs no code of its own"):
        load_model(spec(source="hub", name=str(tmp_path)))
    assert not marker.exists()


def test_missing_folder_is_not_asked_of_the_hub():
    with pytest.raises(ValueError, match=r"model\.name=\./nowhere: no such folder"):
        load_model(spec(source="hub", name="./nowhere"))


def test_model_without_a_chat_template_gets_the_plain_one(tmp_path):
    saved = load_model(spec())
    saved.tokenizer.chat_template = None
    saved.model.save_pretrained(tmp_path)
    saved.tokenizer.save_pretrained(tmp_path)
    tokenizer = load_model(spec(source="hub", name=str(tmp_path))).tokenizer
    turn = [{"role": "user", "content": "Hi"}]
    assert tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) == "<|user|>\nHi\n<|assistant|>\n"


def test_lora_trains_adapters_alone_and_is_drawn_by_seed():
    adapted = [apply_finetune(load_model(spec()).model, FinetuneSpec(**LORA), seed=seed) for seed in (1, 1, 2)]
    trained = {name: p for name, p in adapted[0].named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    assert all(module.training for module in adapted[0].modules())
    first, again, other = (torch.cat([p.flatten() for p in m.parameters() if p.requires_grad]) for m in adapted)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert count_parameters(adapted[0])[0] == len(first)


def test_unknown_target_module_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match=r"finetune\.target_modules=\['q_prj'\].*Linear layers here: .*q_proj"):
        apply_finetune(load_model(spec()).model, FinetuneSpec(**(LORA | {"target_modules": ["q_prj"]})), seed=0)
