"""Loads a LoRA adapter to start training from: it is trained further, or merged into the model, ``W + (α/r) B A``."""

import logging
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from drpt.models.adapter_folder import ADAPTER_WEIGHTS_FILE, Adapter, AdapterFolderError
from drpt.models.merged import merged_weights

_log = logging.getLogger(__name__)

_NUM_LISTED = 6  # names of each kind in a message


def continue_adapter(model: Any, adapter: Adapter, *, dropout: float, seed: int) -> nn.Module:  # Any: no types in transformers
    """Load an adapter into its model, to be trained further.

    Args:
        model: Causal language model on which the adapter was trained; changed in place. On the meta device no values are read.
        adapter: Description of the adapter's folder.
        dropout: Dropout rate of the adapter's inputs in this training.
        seed: Seed of the initial values that peft draws before the adapter's are loaded; the caller's random state is
            unchanged.

    Returns:
        peft's wrapper, in which only the adapter's parameters are trainable.

    Raises:
        AdapterFolderError: The adapter belongs to another model.
    """
    _warn_of_other_base(model, adapter)
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(task_type=TaskType.CAUSAL_LM, lora_dropout=dropout, **adapter.settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            wrapped: nn.Module = get_peft_model(model, config)
        except ValueError as error:
            raise AdapterFolderError(f"{_label(adapter)}: it does not fit the model: {error}") from error
    _put_in(wrapped, adapter)
    return wrapped


def merge_adapter(model: Any, adapter: Adapter) -> nn.Module:  # Any: see above
    """Merge an adapter into its model.

    Args:
        model: Causal language model on which the adapter was trained; changed in place.
        adapter: Description of the adapter's folder.

    Returns:
        The same model with merged weights and without adapters.

    Raises:
        AdapterFolderError: The adapter belongs to another model, or it cannot be merged into plain weights.
    """
    own = model.state_dict(keep_vars=True)  # the tensors themselves, by their plain names
    wrapped: Any = continue_adapter(model, adapter, dropout=0.0, seed=0)
    try:
        with torch.no_grad():
            for name, values in merged_weights(wrapped):
                if values.data_ptr() != own[name].data_ptr():
                    own[name].copy_(values)
    except ValueError as error:
        raise AdapterFolderError(f"{_label(adapter)}: it cannot be merged: {error}") from error
    merged: nn.Module = wrapped.unload()
    return merged.requires_grad_(True)


def _put_in(wrapped: Any, adapter: Adapter) -> None:
    """Load the file's weights into the wrapper; refuse missing and superfluous ones."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    try:
        found = load_file(adapter.folder / ADAPTER_WEIGHTS_FILE)
    except SafetensorError as error:
        raise AdapterFolderError(
            f"{_label(adapter)}: {ADAPTER_WEIGHTS_FILE} is truncated or damaged ({error}). Copy or download it again."
        ) from error
    own = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    # Ignore the model's own embeddings, which peft saves along with an adapter on them.
    beside = wrapped.state_dict()
    found = {name: values for name, values in found.items() if name in own or not _is_same(values, beside.get(name))}
    faults = {
        "lacks": sorted(own.keys() - found.keys()),
        "has no place in this model for": sorted(found.keys() - own.keys()),
        "has other shapes for": [
            f"{name} {tuple(found[name].shape)} for {tuple(own[name].shape)}"
            for name in sorted(own.keys() & found.keys())
            if own[name].shape != found[name].shape
        ],
        "has numbers that are not finite in": sorted(name for name, values in found.items() if not values.isfinite().all()),
    }
    described = [f"{what} {len(names)} ({', '.join(names[:_NUM_LISTED])})" for what, names in faults.items() if names]
    if described:
        trained_on = f" It was trained on {adapter.base}." if adapter.base else ""
        raise AdapterFolderError(
            f"{_label(adapter)}: its weights do not fit this model: it {'; it '.join(described)}.{trained_on} Set model.name "
            "to the model on which it was trained, in the same version."
        )
    if not next(wrapped.parameters()).is_meta:
        set_peft_model_state_dict(wrapped, found)


def _is_same(values: Tensor, there: Tensor | None) -> bool:
    """Whether the model already has these values; on the meta device only shapes are compared."""
    return there is not None and values.shape == there.shape and (there.is_meta or torch.equal(values.to(there.dtype), there))


def _warn_of_other_base(model: Any, adapter: Adapter) -> None:
    """Warn if the model's name differs from the adapter's base; it may be the same model in another folder."""

    def last(name: str) -> str:
        return name.rstrip("/").rpartition("/")[2].lower()

    names = {last(str(getattr(model.config, "_name_or_path", ""))), last(str(getattr(model, "name_or_path", "")))} - {""}
    if adapter.base and last(adapter.base) not in names:
        _log.warning(
            "%s: it was trained on %s, and the model here is %s. If these are different models, the adapter is useless.",
            _label(adapter),
            adapter.base,
            " or ".join(sorted(names)) or type(model).__name__,
        )


def _label(adapter: Adapter) -> str:
    return f"finetune.adapter={adapter.folder}"
