"""Exports a policy's weights to rollout engines and model folders: under Hugging Face names, with adapters merged."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_SHARD_BYTES = 2 * 2**30  # size of a weight file, and bound on the extra memory while a folder is written


@torch.no_grad()
def merged_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Iterate over all parameters and saved buffers, merging LoRA layer by layer, ``W + (α/r) B A``.

    Args:
        model: Causal language model of transformers, or peft's LoRA wrapper around one; not changed. The tensors of a sharded
            model are gathered one by one, so every process must call this.

    Yields:
        Name and values of each tensor, which may share memory with the model; tied tensors once, under their first name.

    Raises:
        ValueError: The model has adapters other than plain LoRA (DoRA, prompts, a bias of its own), or an adapter on one of
            two tied weights, which cannot be merged into a plain model.
    """
    base = _base_model(model)
    layers = _adapted_layers(model, base)
    names: dict[int, list[tuple[str, str | None]]] = {}  # by tensor: plain name, and path of its adapted layer, if any
    tensors: dict[int, Tensor] = {}
    for name, tensor in base.state_dict(keep_vars=True).items():
        place = _plain_name(name, layers)
        if place is not None:
            names.setdefault(id(tensor), []).append(place)
            tensors[id(tensor)] = tensor
    _check_tied(base, names)
    for key, places in names.items():
        name, layer = places[0]
        tensor = tensors[key].detach()
        yield name, _whole(tensor if layer is None else _merged(layers[layer], tensor))


def parameter_shapes(config: Any) -> dict[str, torch.Size]:  # Any: transformers has no types
    """Shapes of the tensors of `merged_weights`, from a model's configuration only.

    Args:
        config: Configuration of a causal language model of transformers.

    Returns:
        Shapes by name; tied tensors once.
    """
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return {name: values.shape for name, values in merged_weights(model)}


def save_for_engine(model: nn.Module, tokenizer: Any, folder: Path) -> None:
    """Write a model folder for an engine: configuration, tokenizer, and merged weights in safetensors.

    Args:
        model: Causal language model or LoRA wrapper, as in `merged_weights`.
        tokenizer: Tokenizer of transformers.
        folder: Folder to create, which must be empty if it exists; it appears only once it is complete.

    Raises:
        ValueError: The folder contains files, or the adapters cannot be merged.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} already contains files. Give a new or empty folder for the model.")
    base = _base_model(model)
    folder.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        base.config.save_pretrained(half)
        tokenizer.save_pretrained(half)
        _save_shards(merged_weights(model), half)
        os.replace(half, folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _save_shards(weights: Iterator[tuple[str, Tensor]], folder: Path) -> None:
    from safetensors.torch import save_file

    files: dict[str, str] = {}  # file by name of the tensor
    shard: dict[str, Tensor] = {}
    num_bytes = total = 0

    def save() -> None:
        file = f"model-{len(set(files.values())) + 1:05}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        files.update(dict.fromkeys(shard, file))
        shard.clear()

    for name, values in weights:
        if shard and num_bytes + values.nbytes > _SHARD_BYTES:
            save()
            num_bytes = 0
        # safetensors refuses tensors that share memory.
        is_own = values.is_contiguous() and values.untyped_storage().nbytes() == values.nbytes
        shard[name] = values if is_own else values.clone(memory_format=torch.contiguous_format)
        num_bytes, total = num_bytes + values.nbytes, total + values.nbytes
    save()
    index = {"metadata": {"total_size": total}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))


def _base_model(model: Any) -> Any:  # Any: transformers and peft have no types
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _adapted_layers(model: Any, base: nn.Module) -> dict[str, Any]:
    """Layers wrapped by peft, by path; refuses those that cannot be merged."""
    if not hasattr(model, "peft_config"):
        return {}
    from peft.tuners.lora import Embedding, Linear
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper, ModulesToSaveWrapper

    for adapter, config in model.peft_config.items():
        if config.is_prompt_learning:
            raise ValueError(f"adapter {adapter}: only plain LoRA can be merged for an engine, not {config.peft_type.value}.")
    layers = {}
    for path, module in base.named_modules():
        if not isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper):
            continue
        is_lora = isinstance(module, Linear | Embedding) and not module.lora_variant and not any(module.lora_bias.values())
        if not is_lora and not isinstance(module, ModulesToSaveWrapper):
            raise ValueError(
                f"{path}: only plain LoRA can be merged for an engine; this {type(module).__name__} is something else (another "
                "kind of adapter, DoRA, LoRA with a bias, single trained tokens, or quantized weights)."
            )
        layers[path] = module
    return layers


def _plain_name(name: str, layers: dict[str, Any]) -> tuple[str, str | None] | None:
    """Name of a tensor in the unwrapped model, with its adapted layer if it is that layer's weight; None for peft's tensors."""
    parts = name.split(".")
    path = next((path for i in range(len(parts)) if (path := ".".join(parts[:i])) in layers), None)
    if path is None:
        return name, None
    layer, rest = layers[path], name[len(path) + 1 :]
    if hasattr(layer, "modules_to_save"):  # a copy trained in place of the original
        is_used = layer.active_adapters and not layer.disable_adapters
        active = f"modules_to_save.{layer.active_adapters[0]}." if is_used else "original_module."
        return (f"{path}.{rest.removeprefix(active)}", None) if rest.startswith(active) else None
    if not rest.startswith("base_layer."):
        return None
    own = rest.removeprefix("base_layer.")
    return f"{path}.{own}", path if own == "weight" else None


def _check_tied(base: Any, names: dict[int, list[tuple[str, str | None]]]) -> None:
    tied = [places for places in names.values() if len(places) > 1 and any(layer is not None for _, layer in places)]
    output = base.get_output_embeddings() if base.config.tie_word_embeddings else None
    path = next((path for path, module in base.named_modules() if output is not None and module is output), None)
    alone = [places for places in names.values() if path is not None and [place[0] for place in places] == [f"{path}.weight"]]
    for places in tied + alone:
        raise ValueError(
            f"{' and '.join(name for name, _ in places)}: input and output embeddings share their weights in this model, but "
            "an adapter changes only one of them, so it cannot be merged. Leave them out of finetune.target_modules."
        )


def _merged(layer: Any, weight: Tensor) -> Tensor:  # Any: peft has no types
    if layer.disable_adapters or layer.merged:
        return weight
    for adapter in layer.active_adapters:
        if adapter in layer.scaling:  # not every adapter is on every layer
            weight = weight + layer.get_delta_weight(adapter).to(weight.dtype)
    return weight


def _whole(tensor: Any) -> Tensor:  # Any: a DTensor, where the model is sharded
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
