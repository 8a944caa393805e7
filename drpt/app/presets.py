"""The presets of a group of the configuration, for callers that compose no whole run: `drpt.regularizer` and the benchmarks.

The command line reads the same files through the same loader, so that a preset means the same everywhere.
"""

import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import OmegaConf

from drpt.app.groups import choices, loader
from drpt.app.paths import config_folder
from drpt.checks import check_choice


def preset_names(group: str) -> tuple[str, ...]:
    """The names of a group's presets, in alphabetical order."""
    return choices()[group]


def preset_values(group: str, name: str) -> dict[str, Any]:  # Any: a configuration's values
    """Read a preset with everything that its file takes from others.

    Args:
        group: Name of the group, such as ``regularizer``.
        name: Name of the preset.

    Returns:
        Plain values that the caller may change; an interpolation (``${optimizer.lr}``) is left as it is written.

    Raises:
        ValueError: The group has no such preset.
    """
    check_choice("preset", name, preset_names(group))
    return copy.deepcopy(_composed(config_folder(), group, name))


@lru_cache(maxsize=128)
def _composed(folder: Path, group: str, name: str) -> dict[str, Any]:
    config = loader(folder).load_configuration(None, [f"+{group}={name}"], run_mode=RunMode.RUN, from_shell=False)
    values = OmegaConf.to_container(config[group], resolve=False)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
