"""From the `model` and `finetune` config groups to a model and its tokenizer."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from drpt.models.chat_template import set_chat_template
from drpt.models.embedded import embedded_model_folder
from drpt.models.spec import FinetuneSpec, ModelSpec
from drpt.models.tiny import byte_tokenizer, tiny_model

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A causal language model in float32 and the tokenizer whose chat template it is trained with; or a reward model."""

    model: nn.Module
    tokenizer: Any  # Any: transformers has no types


def load_model(spec: ModelSpec) -> LoadedModel:
    """Load the model with all parameters trainable.

    Args:
        spec: The `model` config group.

    Returns:
        Model and tokenizer; the tokenizer has a chat template, a pad and an end token, unless it is a reward model's.

    Raises:
        ValueError: The hub or the folder has no such model, no safetensors, or needs code of its own; or an embedded model's
            package is not installed.
    """
    if spec.source == "sentence_encoder":
        from drpt.models.reward_model import RewardModel
        from drpt.models.sentence_encoder import SentenceEncoder

        encoder = SentenceEncoder()
        return LoadedModel(model=RewardModel(encoder), tokenizer=encoder.tokenizer)
    if spec.source == "tiny":
        model, tokenizer = tiny_model(), byte_tokenizer()
    else:
        name = str(embedded_model_folder()) if spec.source == "embedded" else str(spec.name)
        model, tokenizer = _load_pretrained(name, spec.revision)
    set_chat_template(tokenizer, spec.chat_template, label=spec.label)
    if tokenizer.eos_token is None:
        raise ValueError(f"model.name={spec.name}: its tokenizer has no end-of-text token, so no answer could end.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # padded positions are masked everywhere
    if spec.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.config.use_cache = False
    return LoadedModel(model=model, tokenizer=tokenizer)


def _load_pretrained(name: str, revision: str | None) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    place = pretrained_place(name)
    revision = revision or "main"
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, revision=revision, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            place, revision=revision, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"model.name={name}: cannot be loaded ({reason}). It must be a causal language model of transformers with "
            "weights in safetensors that needs no code of its own: a hub name, or a folder with config.json, "
            "model.safetensors and tokenizer files."
        ) from error
    return model, tokenizer


def pretrained_place(name: str) -> str:
    """What transformers is asked for.

    Args:
        name: Hub name or local folder.

    Returns:
        The same, without a tilde.

    Raises:
        ValueError: There is no such folder, or no model in it.
    """
    # A name that begins like a path is a folder, and a missing folder must not become a question to the hub.
    if name.startswith((".", "/", "~")) and not (Path(name).expanduser() / "config.json").is_file():
        raise ValueError(f"model.name={name}: no such folder, or no config.json in it.")
    return str(Path(name).expanduser()) if name.startswith("~") else name


def apply_finetune(model: nn.Module, spec: FinetuneSpec, *, seed: int) -> nn.Module:
    """Choose what is trained: all parameters, low-rank adapters, or the head of a reward model.

    Args:
        model: Causal language model of transformers.
        spec: The `finetune` config group.
        seed: Of the adapters' initial values; the caller's random state is left as it was.

    Returns:
        The model itself, or peft's wrapper around it.

    Raises:
        ValueError: No layer bears one of ``finetune.target_modules``.
    """
    model.train()  # pretrained models come in evaluation mode, in which dropout would stay off
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
    """Number of trained parameters, and of all."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)
