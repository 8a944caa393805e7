"""Reads and checks the folder of a LoRA adapter, as peft saves it, without torch; `drpt.models.adapter` loads the weights."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drpt.models.spec import FinetuneSpec

ADAPTER_CONFIG_FILE = "adapter_config.json"
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"

# Settings of a plain adapter, passed to peft unchanged.
_OWN = (
    "r",
    "lora_alpha",
    "target_modules",
    "exclude_modules",
    "fan_in_fan_out",
    "use_rslora",
    "modules_to_save",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
)
# Keys without effect once the weights exist: origin, training dropout, settings of unused options.
_OF_NO_EFFECT = (
    "peft_type",
    "task_type",
    "auto_mapping",
    "base_model_name_or_path",
    "revision",
    "peft_version",
    "inference_mode",
    "lora_dropout",
    "init_lora_weights",
    "eva_config",
    "runtime_config",
    "megatron_core",
    "qalora_group_size",
)
# Initialisations that leave the base model's weights unchanged; others (PiSSA, OLoRA, …) change them.
_PLAIN_BEGINNINGS = (None, True, False, "gaussian", "eva", "orthogonal")


class AdapterFolderError(ValueError):
    """A folder has no adapter that can be continued or merged; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """Description of an adapter, read from its folder."""

    folder: Path
    base: str  # name or folder of the model on which it was trained; empty if not stated
    settings: dict[str, Any]  # keys of peft's LoraConfig; Any: values of several types


def read_adapter(spec: FinetuneSpec) -> Adapter | None:
    """Read the description of the adapter that ``finetune.adapter`` names; its weights are not read.

    Args:
        spec: The `finetune` config group.

    Returns:
        Description of the adapter; None if no adapter is named.

    Raises:
        AdapterFolderError: A file is missing or malformed, the adapter is not plain LoRA for a causal language model, or
            ``finetune`` asks to continue it with settings other than its own.
    """
    if spec.adapter is None:
        return None
    label = f"finetune.adapter={spec.adapter}"
    folder = Path(spec.adapter).expanduser()
    for name in (ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE):
        if not (folder / name).is_file():
            others = [path.name for path in folder.glob("adapter_model.*")] if folder.is_dir() else []
            holds = f" (it contains {others[0]}, but only safetensors are read)" if others else ""
            raise AdapterFolderError(
                f"{label}: there is no {name}{holds}. Give a local folder written by peft's save_pretrained; download an "
                "adapter on the hub first."
            )
    try:
        found = json.loads((folder / ADAPTER_CONFIG_FILE).read_text())
        kind, rank, alpha = str(found["peft_type"]), found.get("r"), found.get("lora_alpha")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AdapterFolderError(f"{label}: its {ADAPTER_CONFIG_FILE} was not written by peft ({error!r}).") from error
    _check_kind(label, kind, found)
    if not isinstance(rank, int) or not isinstance(alpha, int | float):
        raise AdapterFolderError(f"{label}: its {ADAPTER_CONFIG_FILE} lacks r or lora_alpha.")
    adapter = Adapter(
        folder=folder,
        base=str(found.get("base_model_name_or_path") or ""),
        settings={key: found[key] for key in _OWN if found.get(key) is not None},
    )
    if spec.continues_adapter:
        _check_agreement(spec, adapter)
    return adapter


def _check_kind(label: str, kind: str, found: dict[str, Any]) -> None:
    if kind != "LORA":
        raise AdapterFolderError(
            f"{label}: this adapter is of type {kind}; only LoRA can be continued or merged. Merge it into its model with "
            "peft, and set model.name to the merged model."
        )
    task = found.get("task_type")
    if task not in {None, "CAUSAL_LM"}:
        raise AdapterFolderError(f"{label}: this adapter is for {task}; only adapters for CAUSAL_LM can be trained.")
    beginning = found.get("init_lora_weights")
    if beginning not in _PLAIN_BEGINNINGS:
        raise AdapterFolderError(
            f"{label}: init_lora_weights={beginning} changed the model's own weights before training, so the adapter does not "
            "fit the original model. Merge it with peft, and set model.name to the merged model."
        )
    for key, value in sorted(found.items()):
        if value and value != "none" and key not in (*_OWN, *_OF_NO_EFFECT):
            raise AdapterFolderError(
                f"{label}: with {key}={value} it is not plain LoRA, and only plain LoRA can be continued or merged. Merge it "
                "with peft, and set model.name to the merged model."
            )


def _check_agreement(spec: FinetuneSpec, adapter: Adapter) -> None:
    """Refuse settings that differ from those of the adapter to be continued."""
    own = adapter.settings
    modules = own.get("target_modules")
    is_same_modules = isinstance(modules, list) and set(modules) == set(spec.target_modules or ())
    differing = {
        "rank": (spec.rank, own["r"], own.get("rank_pattern") or spec.rank != own["r"]),
        "alpha": (spec.alpha, own["lora_alpha"], own.get("alpha_pattern") or spec.alpha != own["lora_alpha"]),
        "target_modules": (spec.target_modules, modules, not is_same_modules),
    }
    for key, (given, there, differs) in differing.items():
        if given is not None and differs:
            pattern = own.get(f"{key}_pattern")
            raise AdapterFolderError(
                f"finetune.{key}={given}: the adapter in {adapter.folder} has {there}{f' and {pattern}' if pattern else ''}, "
                f"which continuing it cannot change. Leave finetune.{key} null, or set finetune.adapter_use=merge, which "
                "merges that adapter into the model and trains a new one."
            )
