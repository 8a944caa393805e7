"""Builds the model and the tokenizer of a run from the `model` and `finetune` config groups."""

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from drpt.models.adapter import continue_adapter, merge_adapter
from drpt.models.adapter_folder import read_adapter
from drpt.models.causal import check_causal
from drpt.models.chat_template import check_options, set_chat_template
from drpt.models.embedded import EMBEDDED_NAME, embedded_model_folder
from drpt.models.limits import check_positions, check_tokens
from drpt.models.model_folder import pretrained_place
from drpt.models.pretrained import explained_loading, load_pretrained
from drpt.models.spec import FinetuneSpec, ModelSpec
from drpt.models.tiny import byte_tokenizer, tiny_model

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A causal language model in float32 with its tokenizer and chat template; or a reward model."""

    model: nn.Module
    tokenizer: Any  # Any: transformers has no types


def load_model(spec: ModelSpec, *, seed: int = 0, max_length: int | None = None) -> LoadedModel:
    """Load the model with all parameters trainable.

    Args:
        spec: The `model` config group.
        seed: Seed of random numbers drawn while the model is built; the caller's random state is unchanged.
        max_length: Largest number of tokens in a text (``data.max_length``); None = not known yet.

    Returns:
        Model and tokenizer. The tokenizer has a chat template, a padding token and an end token, except for a reward model.

    Raises:
        ValueError: The hub or the folder has no such model or no safetensors, its weights do not fit, or it needs code of its
            own; the tokenizer or ``max_length`` exceeds the model's embeddings or positions; the model is not causal; or an
            embedded model's package is not installed.
    """
    if spec.source == "sentence_encoder":
        from drpt.models.reward_model import RewardModel
        from drpt.models.sentence_encoder import SentenceEncoder

        encoder = SentenceEncoder()
        return LoadedModel(model=RewardModel(encoder), tokenizer=encoder.tokenizer)
    if spec.source == "tiny":
        model, tokenizer = tiny_model(), byte_tokenizer()
        _check_length(model.config, "model=tiny", max_length)
    else:
        name = str(embedded_model_folder()) if spec.source == "embedded" else str(spec.name)
        model, tokenizer = _load_pretrained(name, spec.revision, seed=seed, max_length=max_length)
        if spec.source == "embedded":
            model.config._name_or_path = EMBEDDED_NAME  # adapters refer to this name, not to the folder of the conversion
    set_chat_template(tokenizer, spec.chat_template, label=spec.label)
    check_options(tokenizer, spec.chat_template_kwargs)
    if tokenizer.eos_token is None:
        raise ValueError(f"model.name={spec.name}: its tokenizer has no end-of-text token, so answers could not end.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # padded positions are masked everywhere
    if spec.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.config.use_cache = False
    return LoadedModel(model=model, tokenizer=tokenizer)


def _load_pretrained(name: str, revision: str | None, *, seed: int, max_length: int | None) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    label = f"model.name={name}"
    place = pretrained_place(name)
    known = {"revision": revision or "main", "trust_remote_code": False}
    with explained_loading(place, revision, label=label, kind="a causal language model"):
        # Load the configuration and the tokenizer first, to find mismatches before gigabytes are read.
        config = AutoConfig.from_pretrained(place, **known)
        tokenizer = AutoTokenizer.from_pretrained(place, **known)
        _check_length(config, label, max_length)
        check_tokens(config, tokenizer, label=label)
        model = load_pretrained(AutoModelForCausalLM, place, label=label, seed=seed, revision=revision)
    check_causal(model, label=label)
    return model, tokenizer


def _check_length(config: Any, label: str, max_length: int | None) -> None:
    if max_length is not None:
        check_positions(config, label=label, wanted=max_length, option=f"data.max_length={max_length}")


def apply_finetune(model: nn.Module, spec: FinetuneSpec, *, seed: int) -> nn.Module:
    """Mark the trained parameters: all, those of low-rank adapters, or the head of a reward model.

    Args:
        model: Causal language model of transformers, or a reward model.
        spec: The `finetune` config group.
        seed: Seed of the adapters' initial values; the caller's random state is unchanged.

    Returns:
        The model itself, or peft's wrapper around it.

    Raises:
        ValueError: No layer has a name in ``finetune.target_modules``; or ``finetune.adapter`` cannot be continued or merged,
            or belongs to another model.
    """
    model.train()  # pretrained models are loaded in evaluation mode, which disables dropout
    adapter = read_adapter(spec)
    if adapter is not None and spec.merges_adapter:
        model = merge_adapter(model, adapter)
    elif adapter is not None:
        own = adapter.settings
        _log.info("finetune.adapter=%s is continued: r = %s, alpha = %s", spec.adapter, own["r"], own["lora_alpha"])
        return continue_adapter(model, adapter, dropout=spec.dropout or 0.0, seed=seed)
    if spec.method == "full":
        return model.requires_grad_(True)
    if spec.method == "head":
        model.requires_grad_(False).get_submodule("head").requires_grad_(True)
        return model
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        target_modules=spec.target_modules or "all-linear",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return get_peft_model(model, config)
        except ValueError as error:
            linear = {name.rpartition(".")[2] for name, m in model.named_modules() if isinstance(m, nn.Linear)}
            raise ValueError(
                f"finetune.target_modules={spec.target_modules}: {error} Linear layers here: {', '.join(sorted(linear))}."
            ) from error


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Number of trained parameters, and number of all parameters."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)
