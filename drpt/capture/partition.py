"""Grouping a model's trainable parameters into blocks, each of which gets an update direction of its own."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from drpt.capture.options import Partition

# Where the transformers library keeps its repeated blocks: Llama, Qwen, Gemma (layers), GPT-2 (h), T5 and others.
_TRANSFORMER_BLOCK = re.compile(r"^(?:.*\.)?(?:layers|h|blocks|block)\.\d+(?=\.)")


@dataclass(frozen=True, slots=True)
class Block:
    """Parameters whose gradients are seen as one vector."""

    name: str
    parameters: tuple[str, ...]


def partition_parameters(names: Iterable[str], partition: Partition) -> tuple[Block, ...]:
    """Group parameters by name.

    Args:
        names: Qualified parameter names in the model's order; a tied parameter appears once, under its first name.
        partition: How fine the blocks are.

    Returns:
        Blocks in the order in which their first parameter appears.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(block_name(name, partition), []).append(name)
    return tuple(Block(name, tuple(members)) for name, members in groups.items())


def block_name(parameter: str, partition: Partition) -> str:
    """Name of the block that the parameter belongs to, e.g. ``model.layers.3.self_attn.q_proj`` under `LAYER`."""
    layer = parameter.rpartition(".")[0] or parameter
    if partition is Partition.GLOBAL:
        return "global"
    if partition is Partition.LAYER:
        return layer
    if partition is Partition.KIND:
        return module_kind(layer)
    block = _TRANSFORMER_BLOCK.match(layer)
    return block.group() if block else layer


def module_kind(layer: str) -> str:
    """What a layer is, whichever block it stands in: ``q_proj``, ``down_proj.lora_A``, ``embed_tokens``."""
    parts = [part for part in layer.split(".") if not part.isdigit()]
    for adapter in ("lora_A", "lora_B"):
        if adapter in parts:
            return f"{parts[parts.index(adapter) - 1]}.{adapter}"
    return parts[-1] if parts else layer
