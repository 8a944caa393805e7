"""Builds a model without weights, on torch's meta device, from which plans and cost estimates are computed in a second."""

from typing import Any

import torch
from torch import nn

from drpt.models.embedded import embedded_model_folder
from drpt.models.load import apply_finetune
from drpt.models.model_folder import pretrained_place
from drpt.models.spec import FinetuneSpec, ModelSpec
from drpt.models.tiny import tiny_model


def meta_model(spec: ModelSpec, finetune: FinetuneSpec) -> nn.Module:
    """Build the model that a run would train, with the same modules, ties and trained parameters but without values.

    Args:
        spec: The `model` config group. For a model on the hub only the configuration is fetched, or found in the cache.
        finetune: The `finetune` config group.

    Returns:
        The model with all parameters on the meta device.

    Raises:
        ValueError: The model is not found, it needs code of its own, or ``finetune.target_modules`` names none of its layers.
    """
    if spec.source == "tiny":
        with torch.device("meta"):
            model = tiny_model()
    else:
        name = str(embedded_model_folder()) if spec.source == "embedded" else pretrained_place(str(spec.name))
        model = _from_config(name, spec)
    with torch.device("meta"):
        return apply_finetune(model, finetune, seed=0)


def _from_config(place: str, spec: ModelSpec) -> Any:  # Any: transformers has no types
    from transformers import AutoConfig, AutoModelForCausalLM

    def read(*, is_local: bool) -> Any:
        revision = spec.revision or "main"
        return AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=False, local_files_only=is_local)

    try:
        try:
            config = read(is_local=True)  # first the cache, since the hub's retries without a network take half a minute
        except OSError:
            config = read(is_local=False)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False, dtype=torch.float32)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"model.name={spec.name}: its configuration cannot be loaded ({reason})") from error
