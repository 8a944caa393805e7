"""A LoRA adapter's folder as peft saves it, as far as it can be read without torch: what it is and whether it can be used."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drpt.models.spec import FinetuneSpec

ADAPTER_CONFIG_FILE = "adapter_config.json"
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"

# What a plain adapter is made of; these go to peft as they are.
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
# Keys that change nothing about an adapter whose weights are there: origin, dropout of training, settings of other options.
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
# Ways to begin that leave the model's own weights as they are; others (PiSSA, OLoRA, …) change them.
_PLAIN_BEGINNINGS = (None, True, False, "gaussian", "eva", "orthogonal")


class AdapterFolderError(ValueError):
    """A folder holds no adapter that can be continued or merged here; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """What a folder says of its adapter."""

    folder: Path
    base: str  # name or folder of the model that it was trained on; empty if it does not say
    settings: dict[str, Any]  # keys of peft's LoraConfig; Any: of several kinds


def read_adapter(spec: FinetuneSpec) -> Adapter | None:
    """Look at the folder that ``finetune.adapter`` names; the weights are there, but have not been read.

    Args:
        spec: The `finetune` config group.

    Returns:
        None where no adapter is named.

    Raises:
        AdapterFolderError: A file is missing or malformed, the adapter is no plain LoRA for a causal language model, or it
            is to be continued with other settings than its own.
    """
    if spec.adapter is None:
        return None
    label = f"finetune.adapter={spec.adapter}"
    folder = Path(spec.adapter).expanduser()
    for name in (ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE):
        if not (folder / name).is_file():
            others = [path.name for path in folder.glob("adapter_model.*")] if folder.is_dir() else []
            holds = f" (it holds {others[0]}; safetensors alone are read)" if others else ""
            raise AdapterFolderError(
                f"{label}: no {name} there{holds}. Give a local folder that peft's save_pretrained wrote; of an adapter on the "
                "hub, download the folder first."
            )
    try:
        found = json.loads((folder / ADAPTER_CONFIG_FILE).read_text())
        kind, rank, alpha = str(found["peft_type"]), found.get("r"), found.get("lora_alpha")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AdapterFolderError(f"{label}: its {ADAPTER_CONFIG_FILE} is none of peft's ({error!r}).") from error
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
            f"{label}: an adapter of kind {kind}; only LoRA can be continued or merged. Merge it into its model with peft, and "
            "give the merged model as model.name."
        )
    task = found.get("task_type")
    if task not in {None, "CAUSAL_LM"}:
        raise AdapterFolderError(f"{label}: an adapter for {task}; here a causal language model is trained (CAUSAL_LM).")
    beginning = found.get("init_lora_weights")
    if beginning not in _PLAIN_BEGINNINGS:
        raise AdapterFolderError(
            f"{label}: init_lora_weights={beginning} changed the model's own weights before training, so that the adapter does "
            "not fit the model as it is. Merge it with peft, and give the merged model as model.name."
        )
    for key, value in sorted(found.items()):
        if value and value != "none" and key not in (*_OWN, *_OF_NO_EFFECT):
            raise AdapterFolderError(
                f"{label}: {key}={value} makes it more than plain LoRA, which alone can be continued or merged here. Merge it "
                "with peft, and give the merged model as model.name."
            )


def _check_agreement(spec: FinetuneSpec, adapter: Adapter) -> None:
    """A continued adapter has its rank, scale and layers already."""
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
                f"and continuing keeps it. Leave finetune.{key} null, or take finetune.adapter_use=merge, which merges that "
                "adapter into the model and trains a new one."
            )
