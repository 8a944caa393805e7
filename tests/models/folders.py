"""Tiny models of transformers in folders, and ways to spoil them."""

import json

import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM

from drpt.models.spec import ModelSpec
from drpt.models.tiny import byte_tokenizer

VOCABULARY = len(byte_tokenizer())
_SPECIAL = {"bos_token_id": None, "eos_token_id": byte_tokenizer().eos_token_id, "pad_token_id": None}
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "tie_word_embeddings": False,
}


def llama(**changes):
    torch.manual_seed(7)
    config = {"vocab_size": VOCABULARY, "max_position_embeddings": 256} | SIZES | _SPECIAL | changes
    return LlamaForCausalLM(LlamaConfig(**config))


def gpt2(**changes):
    torch.manual_seed(7)
    sizes = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
    return GPT2LMHeadModel(GPT2Config(**sizes | _SPECIAL | changes))


def opt(**changes):
    torch.manual_seed(7)
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "word_embed_proj_dim": 32, "num_hidden_layers": 2, "ffn_dim": 48}
    own = {"num_attention_heads": 2, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 1}
    return OPTForCausalLM(OPTConfig(**sizes | own | changes))


def save(folder, model, *, weights=None, config=None, tokenizer=None, **options):
    """A folder; ``weights`` turns the state dictionary into another one, ``config`` changes keys of config.json."""
    model.save_pretrained(folder, **options)
    (tokenizer or byte_tokenizer()).save_pretrained(folder)
    if weights is not None:
        state = weights(load_file(folder / "model.safetensors"))
        save_file({name: value.clone() for name, value in state.items()}, folder / "model.safetensors", {"format": "pt"})
    if config is not None:
        there = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(there | config))
    return folder


def spec(folder, **changes):
    defaults = {"source": "hub", "name": str(folder), "revision": None, "chat_template": "own", "gradient_checkpointing": False}
    return ModelSpec(**(defaults | changes))
