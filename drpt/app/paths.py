"""The location of the configuration folder ``conf/``."""

from pathlib import Path

import drpt

BASE = "base"  # the file of a group that its presets start from; it is no choice itself


def config_folder() -> Path:
    """Find ``conf/``, which is beside the package in a checkout and inside it in an installed wheel.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: Neither folder exists.
    """
    package = Path(drpt.__file__).parent
    for folder in (package.parent / "conf", package / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise FileNotFoundError(f"There is no conf/train.yaml beside or inside {package}: the installation is incomplete.")


def preset_files(group: str) -> list[Path]:
    """The files of a group's presets.

    Args:
        group: Path of the group within ``conf/``, such as ``data/general``.

    Returns:
        Files in alphabetical order, without the one that presets start from.
    """
    return sorted(path for path in config_folder().glob(f"{group}/*.yaml") if path.stem != BASE)
