"""Where configuration and results are."""

from pathlib import Path

import drpt


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
