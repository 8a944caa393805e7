import torch

from drpt.models.load import apply_finetune, load_model
from drpt.models.policy import without_dropout
from drpt.models.spec import FinetuneSpec, ModelSpec

LORA = {"method": "lora", "rank": 2, "alpha": 4.0, "dropout": 0.5, "target_modules": None, "default_lr": 1e-4}
IDS = torch.tensor([[1, 2, 3, 4]])


def policy(*, checkpointing):
    spec = ModelSpec(source="tiny", name=None, revision=None, chat_template="own", gradient_checkpointing=checkpointing)
    model = apply_finetune(load_model(spec).model, FinetuneSpec(**LORA), seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)  # at zero, dropout of the adapter would change nothing
    return model


def test_dropout_is_off():
    model = policy(checkpointing=False)
    assert not torch.equal(model(IDS).logits, model(IDS).logits)
    assert without_dropout(model) is model
    assert torch.equal(model(IDS).logits, model(IDS).logits)
    assert not any(module.training for module in model.modules())


def test_gradient_checkpointing_stays_on_without_dropout():
    plain, checkpointed = (without_dropout(policy(checkpointing=checkpointing)) for checkpointing in (False, True))
    layers = [module for module in checkpointed.modules() if getattr(module, "gradient_checkpointing", False)]
    assert layers
    assert all(module.training for module in layers)
    assert not any(module.training for module in checkpointed.modules() if isinstance(module, torch.nn.Dropout))
    with torch.no_grad():
        for ours, other in zip(checkpointed.parameters(), plain.parameters(), strict=True):
            ours.copy_(other)
    calls = []
    for model in (plain, checkpointed):
        counter = []
        model.get_submodule("base_model.model.model.layers.0.self_attn").register_forward_hook(
            lambda *_, c=counter: c.append(1)
        )
        model(IDS).logits.square().sum().backward()
        calls.append(len(counter))
    assert calls == [1, 2]  # the second is the recomputation
    for ours, other in zip(checkpointed.parameters(), plain.parameters(), strict=True):
        if other.requires_grad:
            torch.testing.assert_close(ours.grad, other.grad)
