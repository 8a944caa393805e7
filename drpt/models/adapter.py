"""A LoRA adapter that training begins with: continued as it is, or merged into the model, ``W + (α/r) B A``."""

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
    """Put an adapter into its model, to be trained further.

    Args:
        model: The causal language model that it was trained on; changed in place. On the meta device no values are read.
        adapter: What its folder says.
        dropout: Share of the adapter's inputs that are dropped: of this training, not of the adapter.
        seed: Of what peft draws before the adapter's values are put in; the caller's random state is left as it was.

    Returns:
        peft's wrapper; the adapter's parameters are trainable, all others are not.

    Raises:
        AdapterFolderError: The adapter is another model's.
    """
    _say_other_base(model, adapter)
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
    """Make an adapter part of its model.

    Args:
        model: As for `continue_adapter`.
        adapter: What its folder says.

    Returns:
        The same model with other weights, without adapters.

    Raises:
        AdapterFolderError: The adapter is another model's, or no model without adapters equals the two together.
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
    """Give the wrapper the file's values: all of them, and no others."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    try:
        found = load_file(adapter.folder / ADAPTER_WEIGHTS_FILE)
    except SafetensorError as error:
        raise AdapterFolderError(
            f"{_label(adapter)}: {ADAPTER_WEIGHTS_FILE} is torn ({error}). Copy or download it again."
        ) from error
    own = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    # The model's own embeddings, which peft saves beside an adapter on them.
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
    told = [f"{what} {len(names)} ({', '.join(names[:_NUM_LISTED])})" for what, names in faults.items() if names]
    if told:
        trained_on = f" It was trained on {adapter.base}." if adapter.base else ""
        raise AdapterFolderError(
            f"{_label(adapter)}: its weights are not those of this model's adapter: it {'; it '.join(told)}.{trained_on} Name "
            "that model, as it was then, as model.name."
        )
    if not next(wrapped.parameters()).is_meta:
        set_peft_model_state_dict(wrapped, found)


def _is_same(values: Tensor, there: Tensor | None) -> bool:
    """Whether the model has these very values already; on the meta device shapes have to do."""
    return there is not None and values.shape == there.shape and (there.is_meta or torch.equal(values.to(there.dtype), there))


def _say_other_base(model: Any, adapter: Adapter) -> None:
    """Folders move and models are called by several names: a difference is said, and shapes are what refuses."""

    def last(name: str) -> str:
        return name.rstrip("/").rpartition("/")[2].lower()

    names = {last(str(getattr(model.config, "_name_or_path", ""))), last(str(getattr(model, "name_or_path", "")))} - {""}
    if adapter.base and last(adapter.base) not in names:
        _log.warning(
            "%s: it was trained on %s, and the model here is %s. If that is another one, what comes out is neither.",
            _label(adapter),
            adapter.base,
            " or ".join(sorted(names)) or type(model).__name__,
        )


def _label(adapter: Adapter) -> str:
    return f"finetune.adapter={adapter.folder}"
