"""Packed examples: the same losses and gradients as alone, for models that can; a refusal for those that cannot."""

import pytest
import torch
import transformers

from drpt.data.batch import pack_rows, pad_rows
from drpt.models.packing import check_packing
from drpt.objectives.language_modeling import packed_sample_losses, sample_losses
from tests.reference.per_sample import per_sample_grads
from tests.texts import encoded

VOCABULARY = 17
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = SIZES | {"num_key_value_heads": 1, "head_dim": 8}
OLD_NAMES = {"vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2}
PACKING = {
    "Llama": GROUPED,
    "Qwen2": GROUPED,
    "Qwen3": GROUPED,
    "GPT2": OLD_NAMES | {"n_positions": 32},
    "GPTNeoX": SIZES,
    "Gemma": GROUPED,
    # Its layers look back over 4 tokens at most, and over all of them, by turns.
    "Gemma3": GROUPED | {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]},
}
MIXING = {
    "Mamba": {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, "pad_token_id": 0},
    "Rwkv": {"vocab_size": VOCABULARY, "hidden_size": 16, "attention_hidden_size": 16, "num_hidden_layers": 2},
    "RecurrentGemma": SIZES | {"num_hidden_layers": 3, "lru_width": 16},
    "Lfm2": GROUPED | {"layer_types": ["conv", "full_attention"]},  # short convolutions
    "Bloom": {"vocab_size": VOCABULARY, "hidden_size": 16, "n_layer": 2, "n_head": 2},  # takes no position_ids
}


def build(name, sizes):
    config_name = {"Gemma3": "Gemma3TextConfig"}.get(name, f"{name}Config")
    model_name = {"GPT2": "GPT2LMHeadModel"}.get(name, f"{name}ForCausalLM")
    config = getattr(transformers, config_name)(**sizes, attn_implementation="sdpa" if name in PACKING else None)
    torch.manual_seed(0)
    model = getattr(transformers, model_name)(config)
    with torch.no_grad():
        for parameter in model.parameters():  # of a trained model's size: initial values hide what examples see
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def texts():
    generator = torch.Generator().manual_seed(1)
    lengths = (7, 3, 12, 1, 5, 9)
    ids = [torch.randint(0, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]
    # Every token counts, the first ones too: neither form may predict them.
    return [encoded(row, [True] * len(row)) for row in ids]


@pytest.mark.parametrize("name", PACKING)
def test_packed_losses_and_gradients_are_those_of_padded_rows(name):
    model, rows = build(name, PACKING[name]).double().eval(), texts()
    padded, packed = pad_rows(rows, pad_token_id=0), pack_rows(rows, pad_token_id=0, max_length=16)
    assert packed.token_ids.shape == (3, 13)
    expected = sample_losses(model(**padded.model_inputs()).logits, padded.token_ids, padded.loss_mask)
    logits = model(**packed.model_inputs(), use_cache=False).logits
    losses = packed_sample_losses(logits, packed.token_ids, packed.loss_mask, packed.example_of_token, num_examples=len(rows))
    # Norms and rotations of transformers round to float32 inside, whatever the model's dtype; GPT-2 has neither.
    tolerance = 1e-10 if name == "GPT2" else 1e-5
    torch.testing.assert_close(losses, expected, rtol=tolerance, atol=tolerance)
    assert losses[3] == 0  # of one token, which nothing predicts
    for own, other in zip(per_sample_grads(model, losses), per_sample_grads(model, expected), strict=True):
        for parameter, grad in own.items():
            torch.testing.assert_close(grad, other[parameter], rtol=tolerance, atol=tolerance, msg=parameter)


@pytest.mark.parametrize("name", PACKING)
def test_models_of_attention_pass_and_keep_their_mode(name):
    model = build(name, PACKING[name]).train()
    check_packing(model, label=name)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("name", MIXING)
def test_models_that_mix_examples_are_refused(name):
    model = build(name, MIXING[name]).train()
    with pytest.raises(ValueError, match=rf"data\.packing=true: {name} mixes .*data\.packing=false"):
        check_packing(model, label=name)
    assert all(module.training for module in model.modules())


class SingleRows(torch.nn.Module):
    """Reads packed positions where there is one row alone, as transformers' flash attention does."""

    def __init__(self, lm):
        super().__init__()
        self.lm = lm
        self.get_input_embeddings = lm.get_input_embeddings

    def forward(self, input_ids, position_ids=None, use_cache=False):
        return self.lm(input_ids, position_ids=position_ids if len(input_ids) == 1 else None, use_cache=use_cache)


def test_packing_must_work_in_several_rows():
    with pytest.raises(ValueError, match=r"data\.packing=true: single mixes"):
        check_packing(SingleRows(build("Llama", GROUPED)), label="single")
