import pytest
import torch

from drpt.models.load import apply_finetune, load_model
from drpt.models.shapes import meta_model
from drpt.models.spec import FinetuneSpec, ModelSpec

FULL = {"method": "full", "rank": None, "alpha": None, "dropout": None, "target_modules": None, "default_lr": 1e-5}
LORA = {"method": "lora", "rank": 2, "alpha": 4.0, "dropout": 0.1, "target_modules": None, "default_lr": 1e-4}


def spec(**changes):
    defaults = {"source": "tiny", "name": None, "revision": None, "chat_template": "own", "gradient_checkpointing": False}
    return ModelSpec(**(defaults | changes))


def described(model):
    return {name: (tuple(p.shape), p.requires_grad) for name, p in model.named_parameters(remove_duplicate=False)}


@pytest.mark.parametrize("finetune", [FULL, LORA])
def test_meta_model_has_the_shapes_and_ties_of_the_loaded_one(finetune):
    finetune = FinetuneSpec(**finetune)
    loaded = apply_finetune(load_model(spec()).model, finetune, seed=0)
    model = meta_model(spec(), finetune)
    assert described(model) == described(loaded)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert len(dict(model.named_parameters())) == len(dict(loaded.named_parameters()))


def test_a_folder_needs_no_weights(tmp_path):
    load_model(spec()).model.config.save_pretrained(tmp_path)
    model = meta_model(spec(source="hub", name=str(tmp_path)), FinetuneSpec(**FULL))
    assert described(model) == described(load_model(spec()).model)


def test_random_state_is_left_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    meta_model(spec(), FinetuneSpec(**LORA))
    assert torch.equal(torch.rand(3), expected)


def test_what_cannot_be_had_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"model\.name=\./nowhere: no such folder"):
        meta_model(spec(source="hub", name="./nowhere"), FinetuneSpec(**FULL))
    with pytest.raises(ValueError, match=r"model\.name=nobody/nothing: its configuration cannot be loaded"):
        meta_model(spec(source="hub", name="nobody/nothing"), FinetuneSpec(**FULL))
    marker = tmp_path / "was_run"
    (tmp_path / "config.json").write_text(
        '{"model_type": "mine", "auto_map": {"AutoConfig": "code.Mine", "AutoModelForCausalLM": "code.Mine"}}'
    )
    (tmp_path / "code.py").write_text(f"open({str(marker)!r}, 'w')\n")
    with pytest.raises(ValueError, match=r"cannot be loaded"):
        meta_model(spec(source="hub", name=str(tmp_path)), FinetuneSpec(**FULL))
    assert not marker.exists()
