"""Reads the configuration in a run's folder, for `drpt probe` and `drpt outcome`."""

from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from drpt.analysis.run import CONFIG_FILE, ResultsError
from drpt.app.compose import compose_run
from drpt.app.config import check_config
from drpt.app.options import ALGORITHMS
from drpt.app.paths import config_folder
from drpt.app.words import literal_values, word
from drpt.capture.options import ChoiceScope
from drpt.modules.regularizer_spec import PHASE
from drpt.renamed import read_through
from drpt.tasks.find import find_task
from drpt.tasks.run_spec import RunSpec


def read_config(folder: Path) -> DictConfig:
    """Read a run's configuration as it was composed; keys that were added since have today's defaults.

    The data source is taken as saved, without defaults: every source has its own keys.

    Args:
        folder: Folder of the run.

    Returns:
        A new configuration; `drpt.app.config.check_config` checks its values.

    Raises:
        ResultsError: The file is missing, is not YAML, or has keys that this version does not know.
    """
    path = folder / CONFIG_FILE
    try:
        saved = literal_values(yaml.safe_load(path.read_text()))  # interpolations were resolved when it was written
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ResultsError(f"{folder}: there is no readable {CONFIG_FILE}; give the folder of one run.") from error
    if isinstance(saved, dict):
        saved = read_through(saved)
    _as_it_trained(saved)
    config = compose_run([])
    OmegaConf.set_struct(config, False)
    try:
        config.data.source = _defaults_of(saved["data"]["name"], saved["data"]["source"]) | saved["data"]["source"]
        if saved.get("algorithm"):  # its keys tell which of the schemas it has
            config.algorithm = next(
                kind for kind in ALGORITHMS.values() if set(saved["algorithm"]) <= set(kind.__dataclass_fields__)
            )
        return cast(DictConfig, OmegaConf.merge(config, saved))
    except (KeyError, TypeError, ValueError, StopIteration, OmegaConfBaseException) as error:
        raise ResultsError(f"{path}: not a configuration of this version of drpt ({_first_line(error)}).") from error


def read_spec(folder: Path) -> RunSpec:
    """Read and check a run's configuration.

    Args:
        folder: Folder of the run.

    Returns:
        The checked configuration.

    Raises:
        ResultsError: The file cannot be read (see `read_config`), or a value breaks a rule of this version of drpt.
    """
    config = read_config(folder)
    try:
        return check_config(config)
    except (ValueError, OmegaConfBaseException) as error:
        path = folder / CONFIG_FILE
        raise ResultsError(f"{path}: not a configuration of this version of drpt ({_first_line(error)}).") from error


def _as_it_trained(saved: Any) -> None:
    """Set a choice per phase to one per step for tasks without rollouts, as an earlier version treated it."""
    try:
        if saved["regularizer"]["choice_scope"] == PHASE and not find_task(saved["task"]["name"]).draws_responses:
            saved["regularizer"]["choice_scope"] = ChoiceScope.STEP.value
    except (KeyError, TypeError, ValueError):
        pass  # reported where the values are used


def _defaults_of(name: str, source: dict[str, Any]) -> dict[str, Any]:
    """Today's defaults of keys that were added since to a preset's source of the same class."""
    if not (config_folder() / "data" / f"{name}.yaml").exists():
        return {}
    preset = OmegaConf.to_container(compose_run([word("data", name)]).data.source, resolve=False)
    assert isinstance(preset, dict)
    if preset["_target_"] != source["_target_"]:
        return {}
    return {str(key): value for key, value in preset.items() if value != "???"}


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
