"""A policy's weights as an engine takes them: by the names of the Hugging Face model, adapters merged."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def merged_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter, one after another; what adapters add is merged out of place, ``W + (α/r) B A``, a layer at a time.

    Args:
        model: A causal language model of transformers, or peft's wrapper with LoRA around one.

    Yields:
        Name and values; a tied parameter once.

    Raises:
        ValueError: The model has adapters other than plain LoRA on linear layers.
    """
    from peft import PeftModel

    if not isinstance(model, PeftModel):
        yield from ((name, parameter.detach()) for name, parameter in model.named_parameters())
        return
    for name, parameter in model.get_base_model().named_parameters():
        path, _, own = name.rpartition(".")
        if ".lora_" in f".{path}.":
            continue
        owner = model.get_base_model().get_submodule(path)
        layer_path = path.removesuffix(".base_layer")
        layer = model.get_base_model().get_submodule(layer_path)
        if layer is owner or own != "weight":
            yield f"{layer_path}.{own}", parameter.detach()
        else:
            yield f"{layer_path}.weight", _merged(layer_path, layer)


def _merged(path: str, layer: Any) -> Tensor:  # Any: peft has no types
    from peft.tuners.lora import Linear

    weight: Tensor = layer.base_layer.weight.detach()
    if not isinstance(layer, Linear) or any(layer.use_dora.values()) or layer.fan_in_fan_out:
        raise ValueError(f"{path}: only plain LoRA on linear layers can be merged for an engine, not {type(layer).__name__}.")
    for adapter in layer.active_adapters:
        weight = weight + layer.get_delta_weight(adapter).to(weight.dtype)
    return weight


def save_for_engine(model: nn.Module, tokenizer: Any, folder: Path) -> None:
    """Write a folder that an engine is built from: configuration, tokenizer, merged weights.

    Args:
        model: See `merged_weights`.
        tokenizer: Of transformers.
        folder: Empty.
    """
    from safetensors.torch import save_file

    config: Any = model.config
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    weights = {name: values.contiguous() for name, values in merged_weights(model)}
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
