"""Where configuration and results are."""

from pathlib import Path

import drpt

BASE = "base"  # the file of a group that its presets start from; it is no choice itself


def config_folder() -> Path:
    """``conf/``: beside the package in a checkout, inside it when installed from a wheel.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: Neither is there.
    """
    package = Path(drpt.__file__).parent
    for folder in (package.parent / "conf", package / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no conf/train.yaml beside or inside {package}: the installation is incomplete.")


def preset_files(group: str) -> list[Path]:
    """The files of a group's presets.

    Args:
        group: Path of the group within ``conf/``, such as ``data/general``.

    Returns:
        Files in alphabetical order, without the one that presets start from.
    """
    return sorted(path for path in config_folder().glob(f"{group}/*.yaml") if path.stem != BASE)
