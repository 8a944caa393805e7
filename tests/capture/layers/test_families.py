"""Families of transformers and adapters of peft equal the definition, whatever their own code does."""

import pytest
import torch

from tests import zoo
from tests.capture.helpers import M, N
from tests.capture.layers.test_own_code import ROUNDED_INSIDE, assert_equals_brute_force


def _config(kind, **changes):
    import transformers

    sizes = {
        "vocab_size": zoo.TOKENS,
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "max_position_embeddings": 16,
        "attn_implementation": "sdpa",
        "experts_implementation": "eager",  # the others know no float64
    }
    return getattr(transformers, f"{kind}Config")(**sizes | changes)


_SMALL = {"intermediate_size": 12, "num_key_value_heads": 1, "head_dim": 4}


_NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}


FAMILIES = {
    "OPT": ("OPTForCausalLM", lambda: _config("OPT", ffn_dim=12, word_embed_proj_dim=8, **_NO_DROPOUT)),
    "Bart": (
        "BartForCausalLM",
        lambda: _config(
            "Bart",
            d_model=8,
            decoder_layers=2,
            decoder_attention_heads=2,
            decoder_ffn_dim=12,
            scale_embedding=True,
            **_NO_DROPOUT,
        ),
    ),
    "BioGpt": (
        "BioGptForCausalLM",
        lambda: _config(
            "BioGpt",
            intermediate_size=12,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            activation_dropout=0.0,
            layerdrop=0.0,
        ),
    ),
    "Falcon": ("FalconForCausalLM", lambda: _config("Falcon", bias=True, hidden_dropout=0.0, attention_dropout=0.0)),
    "Cohere": ("CohereForCausalLM", lambda: _config("Cohere", use_qk_norm=True, intermediate_size=12, num_key_value_heads=1)),
    "Nemotron": ("NemotronForCausalLM", lambda: _config("Nemotron", **_SMALL)),
    "Mixtral": ("MixtralForCausalLM", lambda: _config("Mixtral", num_local_experts=4, num_experts_per_tok=2, **_SMALL)),
    "Qwen3Moe": (
        "Qwen3MoeForCausalLM",
        lambda: _config(
            "Qwen3Moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=6, norm_topk_prob=True, **_SMALL
        ),
    ),
    "GptOss": (
        "GptOssForCausalLM",
        lambda: _config("GptOss", num_local_experts=4, num_experts_per_tok=2, **_SMALL | {"attn_implementation": "eager"}),
    ),
}


def family(name):
    import transformers

    kind, config = FAMILIES[name]
    torch.manual_seed(5)
    lm = getattr(transformers, kind)(config())
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return zoo.TokenLosses(lm.train()).double()


@pytest.mark.parametrize("name", FAMILIES)
def test_families_of_transformers_equal_definition(name):
    model = family(name)
    assert_equals_brute_force(model, zoo.inputs_for(model, N + M), ROUNDED_INSIDE)


class EncoderDecoder(zoo.TokenLosses):
    """The text is its own summary."""

    def forward(self, batch):
        token_ids, lengths = batch
        places = torch.arange(token_ids.shape[1])
        mask = (places < lengths[:, None]).long()
        logits = self.lm(input_ids=token_ids, attention_mask=mask, decoder_input_ids=token_ids, use_cache=False).logits
        return zoo.sample_losses(logits, token_ids, mask.bool() & (places >= 2))


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_t5_equals_definition(implementation):
    """Its positions are a table of differences, added to all rows' attention scores."""
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {
        "vocab_size": zoo.TOKENS,
        "d_model": 8,
        "d_kv": 4,
        "d_ff": 12,
        "num_layers": 2,
        "num_heads": 2,
        "dropout_rate": 0.0,
    }
    config = T5Config(**sizes, relative_attention_num_buckets=6, decoder_start_token_id=0, attn_implementation=implementation)
    torch.manual_seed(5)
    model = EncoderDecoder(T5ForConditionalGeneration(config).train()).double()
    assert_equals_brute_force(model, zoo.inputs_for(model, N + M), ROUNDED_INSIDE)


def _with_adapter(config):
    from peft import get_peft_model

    model = zoo.llama(tied=True)
    model.lm = get_peft_model(model.lm, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name or "prompt" in name:  # zero at the start, or nearly
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.double()


class VirtualTokens(zoo.TokenLosses):
    """Logits of virtual tokens come before those of the text."""

    def forward(self, batch):
        token_ids, lengths = batch
        places = torch.arange(token_ids.shape[1])
        mask = (places < lengths[:, None]).long()
        logits = self.lm(input_ids=token_ids, attention_mask=mask, use_cache=False).logits[:, -token_ids.shape[1] :]
        return zoo.sample_losses(logits, token_ids, mask.bool() & (places >= 2))


def _peft_configs():
    import peft

    common = {"task_type": "CAUSAL_LM"}
    return {
        "dora": peft.LoraConfig(r=2, use_dora=True, lora_dropout=0.0, target_modules=["q_proj", "down_proj"], **common),
        "prompt tuning": peft.PromptTuningConfig(num_virtual_tokens=3, **common),
        "p-tuning": peft.PromptEncoderConfig(num_virtual_tokens=3, encoder_hidden_size=6, **common),
        "prefix tuning": peft.PrefixTuningConfig(num_virtual_tokens=3, **common),
        "ia3": peft.IA3Config(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"], **common),
    }


@pytest.mark.parametrize("name", ["dora", "prompt tuning", "p-tuning", "prefix tuning", "ia3"])
def test_adapters_of_peft_equal_definition(name):
    model = _with_adapter(_peft_configs()[name])
    if "t" in name.split()[-1][:1] or name == "p-tuning":
        model.__class__ = VirtualTokens
    assert_equals_brute_force(model, zoo.inputs_for(model, N + M), ROUNDED_INSIDE)
