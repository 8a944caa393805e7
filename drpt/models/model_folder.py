"""Resolves ``model.name`` to a local folder or a hub name, without torch, and refuses folders without a model."""

from pathlib import Path

from drpt.models.adapter_folder import ADAPTER_CONFIG_FILE

_CONFIG_FILE = "config.json"


def pretrained_place(name: str) -> str:
    """Hub name or path to pass to transformers.

    Args:
        name: Hub name or local folder.

    Returns:
        The name, with a leading ``~`` expanded.

    Raises:
        ValueError: The folder does not exist, contains no model, or contains an adapter.
    """
    folder = Path(name).expanduser()
    has_model = (folder / _CONFIG_FILE).is_file()
    # transformers would silently load the adapter's base model, or both.
    if (folder / ADAPTER_CONFIG_FILE).is_file():
        beside = " beside a model; move it into a folder of its own" if has_model else ", not a model by itself"
        raise ValueError(
            f"model.name={name}: the folder contains an adapter ({ADAPTER_CONFIG_FILE}){beside}. Name the model on which it "
            f"was trained, and add finetune.adapter={name if not has_model else 'FOLDER'}: finetune=lora continues it, "
            "finetune.adapter_use=merge merges it into the model first."
        )
    # A name that looks like a path is a folder; a missing folder must not be looked up on the hub.
    if name.startswith((".", "/", "~")) and not has_model:
        raise ValueError(f"model.name={name}: no such folder, or no {_CONFIG_FILE} in it.")
    return str(folder) if name.startswith("~") else name
