"""What ``model.name`` names, as far as it can be said without torch: a folder that holds a model, or something on the hub."""

from pathlib import Path

from drpt.models.adapter_folder import ADAPTER_CONFIG_FILE

_CONFIG_FILE = "config.json"


def pretrained_place(name: str) -> str:
    """What transformers is asked for.

    Args:
        name: Hub name or local folder.

    Returns:
        The same, without a tilde.

    Raises:
        ValueError: There is no such folder, no model in it, or an adapter.
    """
    folder = Path(name).expanduser()
    has_model = (folder / _CONFIG_FILE).is_file()
    # transformers would load the model that the adapter names, or both, and say nothing of it.
    if (folder / ADAPTER_CONFIG_FILE).is_file():
        beside = " beside a model; move it into a folder of its own" if has_model else ", not a model by itself"
        raise ValueError(
            f"model.name={name}: the folder holds an adapter ({ADAPTER_CONFIG_FILE}){beside}. Name the model that it was "
            f"trained on, and add finetune.adapter={name if not has_model else 'FOLDER'}: finetune=lora continues it, "
            "finetune.adapter_use=merge merges it into the model first."
        )
    # A name that begins like a path is a folder, and a missing folder must not become a question to the hub.
    if name.startswith((".", "/", "~")) and not has_model:
        raise ValueError(f"model.name={name}: no such folder, or no {_CONFIG_FILE} in it.")
    return str(folder) if name.startswith("~") else name
