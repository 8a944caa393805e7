"""The location of the configuration folder ``conf/``."""

from pathlib import Path

import drpt


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
