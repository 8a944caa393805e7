"""A value head on the trunk of a language model."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from drpt.models.tiny import tiny_model
from drpt.models.value_head import PolicyWithValues, language_model, values_of_tokens

TOKENS = torch.tensor([[5, 9, 2, 40], [7, 7, 1, 3]])


def hidden_states(model):
    """What transformers itself calls the last hidden states."""
    return model(input_ids=TOKENS, output_hidden_states=True).hidden_states[-1]


@pytest.mark.parametrize("wrap", [False, True], ids=["plain", "lora"])
def test_values_are_a_linear_map_of_the_last_hidden_states(wrap):
    model = tiny_model()
    if wrap:
        model = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    model.eval()
    both = PolicyWithValues(model)
    nn.init.normal_(both.value_head.weight)
    output = both(input_ids=TOKENS)
    expected = hidden_states(model) @ both.value_head.weight[0] + both.value_head.bias
    torch.testing.assert_close(output.values, expected, rtol=1e-5, atol=1e-6)  # float32 sums in another order
    torch.testing.assert_close(output.logits, model(input_ids=TOKENS).logits, rtol=0, atol=0)
    assert language_model(both) is model
    assert language_model(model) is model


def test_the_head_begins_at_zero_and_leaves_the_trunk_alone():
    both = PolicyWithValues(tiny_model())
    values = both(input_ids=TOKENS).values
    assert not values.any()
    (values - 1).square().sum().backward()
    grads = {name: parameter.grad for name, parameter in both.named_parameters() if parameter.grad is not None}
    assert all(not grad.any() for name, grad in grads.items() if not name.startswith("value_head"))
    assert grads["value_head.bias"].any()
    assert not both.policy.get_output_embeddings()._forward_pre_hooks, "nothing is left on the model"


def test_values_are_float32_under_autocast():
    both = PolicyWithValues(tiny_model())
    with torch.autocast("cpu", torch.bfloat16):
        assert both(input_ids=TOKENS).values.dtype == torch.float32


def test_a_value_belongs_to_the_state_before_its_token():
    assert values_of_tokens(torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [[0.0, 1.0, 2.0]]


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="Linear has no output embeddings: a value head needs a causal language model"):
        PolicyWithValues(nn.Linear(2, 2))


def test_recomputed_activations_give_the_same_gradients():
    grads = []
    for is_checkpointed in (False, True):
        model = tiny_model()
        model.train()
        if is_checkpointed:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        both = PolicyWithValues(model)
        nn.init.constant_(both.value_head.weight, 0.1)
        output = both(input_ids=TOKENS, use_cache=False)
        (output.logits.square().mean() + output.values.square().sum()).backward()
        grads.append([parameter.grad for parameter in both.parameters()])
    for plain, recomputed in zip(*grads, strict=True):
        torch.testing.assert_close(recomputed, plain, rtol=1e-5, atol=1e-6)  # float32
