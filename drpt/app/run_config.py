"""Reading back the configuration that a run left in its folder."""

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
    """A run's configuration as it was composed; a key that came into being since has today's default.

    The source of data is taken as it is: each source has keys of its own, and another one's would be refused.

    Args:
        folder: The run's.

    Returns:
        Free to be changed; values are checked by `drpt.app.config.check_config`.

    Raises:
        ResultsError: There is none, it is no YAML, or it has keys that this version does not know.
    """
    path = folder / CONFIG_FILE
    try:
        saved = literal_values(yaml.safe_load(path.read_text()))  # interpolations were resolved when it was written
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ResultsError(f"{folder}: no readable {CONFIG_FILE} there; give the folder of one run.") from error
    if isinstance(saved, dict):
        saved = read_through(saved)
    _as_it_trained(saved)
    config = compose_run([])
    OmegaConf.set_struct(config, False)
    try:
        config.data.source = _defaults_of(saved["data"]["name"], saved["data"]["source"]) | saved["data"]["source"]
        if saved.get("algorithm"):  # which of its schemas it was, its keys say
            config.algorithm = next(
                kind for kind in ALGORITHMS.values() if set(saved["algorithm"]) <= set(kind.__dataclass_fields__)
            )
        return cast(DictConfig, OmegaConf.merge(config, saved))
    except (KeyError, TypeError, ValueError, StopIteration, OmegaConfBaseException) as error:
        raise ResultsError(f"{path}: not a configuration of this version of drpt ({_first_line(error)}).") from error


def read_spec(folder: Path) -> RunSpec:
    """A run's checked configuration.

    Args:
        folder: The run's.

    Returns:
        Plain dataclasses and values.

    Raises:
        ResultsError: See `read_config`; or a value breaks a rule, as in a run of another version of drpt.
    """
    config = read_config(folder)
    try:
        return check_config(config)
    except (ValueError, OmegaConfBaseException) as error:
        path = folder / CONFIG_FILE
        raise ResultsError(f"{path}: not a configuration of this version of drpt ({_first_line(error)}).") from error


def _as_it_trained(saved: Any) -> None:
    """Of a task that draws no responses, an earlier version took a choice a rollout phase for one a step."""
    try:
        if saved["regularizer"]["choice_scope"] == PHASE and not find_task(saved["task"]["name"]).draws_responses:
            saved["regularizer"]["choice_scope"] = ChoiceScope.STEP.value
    except (KeyError, TypeError, ValueError):
        pass  # reported by whoever needs them


def _defaults_of(name: str, source: dict[str, Any]) -> dict[str, Any]:
    """Today's values of the keys that a preset's source of the same class has got since."""
    if not (config_folder() / "data" / f"{name}.yaml").exists():
        return {}
    preset = OmegaConf.to_container(compose_run([word("data", name)]).data.source, resolve=False)
    assert isinstance(preset, dict)
    if preset["_target_"] != source["_target_"]:
        return {}
    return {str(key): value for key, value in preset.items() if value != "???"}


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
