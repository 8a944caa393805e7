"""Tiny awkward models: each breaks a capture that gets one thing wrong. All in float64.

A model here is called as ``model(inputs)`` and gives one loss a row.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from drpt.objectives.language_modeling import sample_losses

TOKENS = 11
LENGTH = 8  # of the longest row; not the number of rows of any test


class TokenLosses(nn.Module):
    """A causal language model of transformers with the loss of each row; rows have different lengths."""

    def __init__(self, lm: nn.Module) -> None:
        super().__init__()
        self.lm = lm

    def forward(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        token_ids, lengths = batch
        places = torch.arange(token_ids.shape[1])
        attention_mask = (places < lengths[:, None]).long()
        loss_mask = attention_mask.bool() & (places >= 2)
        logits = self.lm(input_ids=token_ids, attention_mask=attention_mask, use_cache=False).logits
        return sample_losses(logits, token_ids, loss_mask)


class VectorLosses(nn.Module):
    """A network over [row, token, 6] with a squared error a row."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.net(x) - x.roll(1, dims=-1)).square().flatten(1).mean(dim=1)


class SquareOfLinear(nn.Module):
    """A layer used twice, and one whose output is thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.unused = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.unused(x)
        return self.first(torch.tanh(self.first(x)))


class ScaledRMSNorm(nn.Module):
    """Gemma's way: the scale is 1 + weight."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dim) * 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * (1 + self.weight)


class Float64RMSNorm(nn.Module):
    """Transformers' norms round to float32 inside, which would leave nothing to compare to nine digits."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


def _replace_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if type(child).__name__.startswith("Gemma") and type(child).__name__.endswith("RMSNorm"):
            setattr(module, name, ScaledRMSNorm(len(child.weight)))
        elif type(child).__name__.endswith("RMSNorm"):
            setattr(module, name, Float64RMSNorm(child.weight))
        else:
            _replace_norms(child)


class PositionAndToken(nn.Module):
    """Two tables, one with a padding index, tied to the head, which has a bias of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Embedding(TOKENS, 6, padding_idx=0)
        self.position = nn.Embedding(9, 6)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, TOKENS)
        self.head.weight = self.token.weight

    def forward(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        token_ids, lengths = batch
        places = torch.arange(token_ids.shape[1]).expand_as(token_ids)
        logits = self.head(self.norm(self.token(token_ids) + self.position(places)))
        losses = F.cross_entropy(logits[:, :-1].flatten(0, 1), token_ids[:, 1:].flatten(), reduction="none")
        counts = places[:, 1:] < lengths[:, None]
        return (losses.view(counts.shape) * counts).sum(dim=1) / counts.sum(dim=1)


class ValueHead(nn.Module):
    """A language model's trunk with one number a token, as PPO's critic has."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.value_head = nn.Linear(8, 1)

    def forward(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        token_ids, lengths = batch
        counts = torch.arange(token_ids.shape[1]) < lengths[:, None]
        hidden = self.trunk(input_ids=token_ids, attention_mask=counts.long(), use_cache=False).last_hidden_state
        values = self.value_head(hidden).squeeze(-1)
        return ((values - token_ids) * counts).square().sum(dim=1) / counts.sum(dim=1)


class SharedPositions(PositionAndToken):
    """Positions as one vector that all rows share."""

    def forward(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        token_ids, lengths = batch
        places = torch.arange(token_ids.shape[1])
        logits = self.head(self.norm(self.token(token_ids) + self.position(places + 1)))
        losses = F.cross_entropy(logits[:, :-1].flatten(0, 1), token_ids[:, 1:].flatten(), reduction="none")
        counts = places[1:] < lengths[:, None]
        return (losses.view(counts.shape) * counts).sum(dim=1) / counts.sum(dim=1)


def family(name: str, *, as_written: bool = False) -> nn.Module:
    """Other architectures of transformers, each with what is its own; float64 throughout unless ``as_written``."""
    import transformers

    sizes = {
        "vocab_size": TOKENS,
        "hidden_size": 8,
        "intermediate_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "attn_implementation": "sdpa",
    }
    grouped = {"num_key_value_heads": 1, "head_dim": 4}
    changes = {
        "GPT2": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "n_positions": 16},
        "GPTNeoX": {"rotary_pct": 0.5, "hidden_dropout": 0.0, "attention_dropout": 0.0, "max_position_embeddings": 16},
        "Gemma3": {"sliding_window": 4, "query_pre_attn_scalar": 4, **grouped},
    }.get(name, grouped)
    kind = {"Gemma3": "Gemma3Text"}.get(name, name)
    config = getattr(transformers, f"{kind}Config")(**sizes, **changes)
    lm = getattr(transformers, {"GPT2": "GPT2LMHeadModel"}.get(name, f"{name}ForCausalLM"))(config)
    if not as_written:
        _replace_norms(lm)
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return TokenLosses(lm.train())


def value_head() -> nn.Module:
    return ValueHead(llama(tied=False).lm.model)


def llama(
    *, tied: bool, bias: bool = False, checkpointed: bool = False, norms: str = "llama", as_written: bool = False
) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    sizes = {
        "vocab_size": TOKENS,
        "hidden_size": 8,
        "intermediate_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 4,
        "attention_bias": bias,
        "tie_word_embeddings": tied,
        "pad_token_id": 0,
        "attn_implementation": "sdpa",  # the eager one rounds to float32
    }
    lm = Qwen3ForCausalLM(Qwen3Config(**sizes)) if norms == "qwen3" else LlamaForCausalLM(LlamaConfig(**sizes))
    if not as_written:
        _replace_norms(lm)
    with torch.no_grad():
        for parameter in lm.parameters():  # far from the small initial values, where all gradients look alike
            parameter.add_(torch.randn_like(parameter) * 0.3)
    if checkpointed:
        lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return TokenLosses(lm.train())


def lora_llama() -> nn.Module:
    from peft import LoraConfig, get_peft_model

    model = llama(tied=True)
    config = LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=4, lora_dropout=0.0, target_modules="all-linear")
    model.lm = get_peft_model(model.lm, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # zero at the start, which would hide errors in A
                parameter.copy_(torch.randn_like(parameter))
    return model


def frozen_in_part() -> nn.Module:
    model = llama(tied=False)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("layers.0" in name or "mlp.down_proj" in name or name.endswith("model.norm.weight"))
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {
    "tied llama": lambda: llama(tied=True),
    "untied llama with biases": lambda: llama(tied=False, bias=True),
    "qwen3 (q and k norms)": lambda: llama(tied=False, norms="qwen3"),
    "qwen2 (biases of q, k and v)": lambda: family("Qwen2"),
    "gpt2 (conv1d, positions of all rows)": lambda: family("GPT2"),
    "gpt-neox (parallel branches)": lambda: family("GPTNeoX"),
    "gemma (scaled table)": lambda: family("Gemma"),
    "gemma3 (windows, q and k norms)": lambda: family("Gemma3"),
    "value head": value_head,
    "positions without rows": SharedPositions,
    "checkpointed llama": lambda: llama(tied=True, checkpointed=True),
    "lora": lora_llama,
    "frozen in part": frozen_in_part,
    "tied with padding_idx and head bias": PositionAndToken,
    "used twice": lambda: VectorLosses(SquareOfLinear()),
    "norms and biases": lambda: VectorLosses(
        nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 5), nn.RMSNorm(5), nn.Linear(5, 6, bias=False), ScaledRMSNorm(6))
    ),
    "one layer": lambda: VectorLosses(nn.Linear(6, 6, bias=False)),
}


def build(name: str) -> nn.Module:
    """The model, always the same."""
    torch.manual_seed(len(name))
    return MODELS[name]().double()


def inputs_for(model: nn.Module, num_rows: int, seed: int = 0):
    """Rows that the model takes: token ids with lengths, or vectors."""
    generator = torch.Generator().manual_seed(seed)
    if isinstance(model, VectorLosses):
        return torch.randn(num_rows, 4, 6, generator=generator, dtype=torch.float64)
    token_ids = torch.randint(1, TOKENS, (num_rows, LENGTH), generator=generator)
    lengths = torch.randint(4, LENGTH + 1, (num_rows,), generator=generator)
    lengths[0] = LENGTH
    return token_ids.masked_fill(torch.arange(LENGTH) >= lengths[:, None], 0), lengths
