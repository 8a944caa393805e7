"""The model before training, whatever has become of the policy since."""

import pytest
import torch

from drpt.models.load import apply_finetune, load_model
from drpt.models.reference import ReferenceModel
from drpt.models.spec import FinetuneSpec, ModelSpec

LORA = {"method": "lora", "rank": 2, "alpha": 4.0, "dropout": 0.0, "target_modules": None, "default_lr": 1e-4}
FULL = LORA | {"method": "full", "rank": None, "alpha": None, "dropout": None}
IDS = torch.tensor([[1, 2, 3, 4]])


def tiny():
    return load_model(
        ModelSpec(source="tiny", name=None, revision=None, chat_template="own", gradient_checkpointing=False)
    ).model.eval()


def trained(finetune):
    """A policy, its reference, and the policy's output after some training."""
    policy = apply_finetune(tiny(), FinetuneSpec(**finetune), seed=0)
    reference = ReferenceModel(policy)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return policy, reference


@pytest.mark.parametrize("finetune", [LORA, FULL], ids=["lora", "full"])
def test_it_computes_what_the_model_computed_before_training(finetune):
    policy, reference = trained(finetune)
    after = policy(IDS).logits
    assert not torch.allclose(after, tiny()(IDS).logits, atol=1e-2)
    with reference.active() as model:
        logits = model(IDS).logits
    torch.testing.assert_close(logits, tiny()(IDS).logits, rtol=0, atol=0)
    assert not logits.requires_grad
    again = policy(IDS).logits
    assert torch.equal(again, after)
    assert again.requires_grad


def test_adapters_cost_no_copy_and_are_trained_afterwards():
    policy, reference = trained(LORA)
    with reference.active() as model:
        assert model is policy
    policy(IDS).logits.sum().backward()
    grads = [parameter.grad for name, parameter in policy.named_parameters() if "lora_" in name]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)
    assert all(parameter.requires_grad == ("lora_" in name) for name, parameter in policy.named_parameters())


def test_adapters_are_on_again_after_an_error():
    policy, reference = trained(LORA)
    after = policy(IDS).logits
    with pytest.raises(RuntimeError, match="out of memory"), reference.active():
        raise RuntimeError("out of memory")
    assert torch.equal(policy(IDS).logits, after)
    assert torch.is_grad_enabled()


def test_a_fully_trained_model_is_copied_and_frozen():
    policy, reference = trained(FULL)
    with reference.active() as model:
        assert model is not policy
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert not any(module.training for module in model.modules())
    assert not {parameter.data_ptr() for parameter in model.parameters()} & {p.data_ptr() for p in policy.parameters()}
    assert all(parameter.requires_grad for parameter in policy.parameters())


@pytest.mark.parametrize("finetune", [LORA, FULL], ids=["lora", "full"])
def test_only_a_copy_is_moved(finetune):
    policy, reference = trained(finetune)
    reference.to(torch.device("meta"), torch.float32)
    assert {parameter.device.type for parameter in policy.parameters()} == {"cpu"}
    with reference.active() as model:
        assert {parameter.device.type for parameter in model.parameters()} == {"cpu" if finetune is LORA else "meta"}
