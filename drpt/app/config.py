"""From a composed configuration to a checked `RunSpec`; no torch.

Also the identity of a run: runs whose configurations agree in everything that can change a result are the same run, have the
same name and the same folder, and are not done twice.
"""

import copy
import hashlib
import json
import re
from dataclasses import fields
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from drpt.app.schema import RunSpec
from drpt.geometry.catalogue import SETS, ProductsMethod
from drpt.modules.algorithm_spec import AlgorithmSpec, GroupAlgorithmSpec
from drpt.modules.ppo_spec import PpoSpec
from drpt.objectives.choices import KlControl

# Where results go and are shown: no part of what is computed.
_NOT_IDENTITY = ("sweep", "runs_folder", "logger", "hydra")
# Options under which the result is the same.
_OF_NO_RESULT = {
    "trainer": ("retain_mib", "check_capture", "score_check_steps"),
    "rollout": (
        "probe_every",
        "probe_responses",
        "probe_bound",
        "kv_cache_mib",
        "threads",
        "url",
        "token_variable",
        "weights_folder",
    ),
}
# Schemas of the group `algorithm`, by the name that its presets begin with.
ALGORITHMS: dict[str, type[AlgorithmSpec]] = {"group_schema": GroupAlgorithmSpec, "ppo_schema": PpoSpec}


class ConfigError(ValueError):
    """A configuration breaks rules; the message lists every fault."""


def register() -> None:
    """Make the schema and our resolvers known to Hydra and OmegaConf; may be called again."""
    store = ConfigStore.instance()
    store.store(name="run_schema", node=RunSpec)
    for name, node in ALGORITHMS.items():
        store.store(group="algorithm", name=name, node=node)
    OmegaConf.register_new_resolver("drpt_job", _job_of_root, replace=True)
    OmegaConf.register_new_resolver("drpt_of_new_adapter", _of_new_adapter, replace=True)


def check_config(config: DictConfig) -> RunSpec:
    """Check every section and return the typed configuration.

    Args:
        config: Composed with the schema; the ``hydra`` node may still be there.

    Returns:
        Plain dataclasses and values, interpolations resolved.

    Raises:
        ConfigError: At least one value breaks its rule.
    """
    faults: list[str] = []
    for field in fields(RunSpec):
        try:
            section = config[field.name]
            if isinstance(section, DictConfig):
                OmegaConf.to_object(section)
        except MissingMandatoryValue:
            pass  # reported below with its full name
        except (ValueError, OmegaConfBaseException) as error:
            faults.append(_first_line_of(error))
    own = _own_sections(config)
    faults += [f"{key} is needed: add {key}=…" for key in sorted(OmegaConf.missing_keys(own))]
    if not faults:
        try:
            spec = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(RunSpec), own))
        except ValueError as error:
            faults.append(_first_line_of(error))
    if faults:
        raise ConfigError("\n".join(faults))
    assert isinstance(spec, RunSpec)
    return spec


def _own_sections(config: DictConfig) -> DictConfig:
    own = copy.copy(config)
    OmegaConf.set_struct(own, False)
    OmegaConf.set_readonly(own, False)
    own.pop("hydra", None)
    return own


def _first_line_of(error: Exception) -> str:
    # OmegaConf appends its own particulars in further lines.
    lines = str(error).strip().split("\n    full_key")[0]
    return lines or type(error).__name__


def identity_of(config: Container) -> dict[str, Any]:
    """All that can change the run's result, resolved.

    Args:
        config: A composed configuration.

    Returns:
        Plain values.
    """
    assert isinstance(config, DictConfig)
    sections = {str(key): config._get_node(key) for key in config if key not in _NOT_IDENTITY}
    # Groups of other tasks.
    sections = {key: node for key, node in sections.items() if not (isinstance(node, Container) and node._is_none())}
    identity: dict[str, Any] = {
        key: OmegaConf.to_container(node, resolve=True) if isinstance(node, Container) else config[key]
        for key, node in sections.items()
    }
    regularizer = identity["regularizer"]
    if regularizer["products"] != ProductsMethod.SKETCH.value:
        identity.pop("sketch", None)
    for section, options in _OF_NO_RESULT.items():
        for option in options:
            identity.get(section, {}).pop(option, None)
    if identity.get("algorithm", {}).get("kl", {}).get("control") == KlControl.FIXED:
        for option in ("target", "horizon"):
            identity["algorithm"]["kl"].pop(option)
    # Options that came into being later, at what was done before them: runs of then are still the same runs.
    if identity["data"]["source"].get("needs_response") is True:
        identity["data"]["source"].pop("needs_response")
    if identity.get("reward", {}).get("judges") == {}:
        identity["reward"].pop("judges")
    if identity["finetune"].get("adapter") is None:
        for option in ("adapter", "adapter_use"):
            identity["finetune"].pop(option, None)
    for dial in ("strength", "relaxation"):  # a number or a word: 1 and 1.0 are the same number
        if isinstance(regularizer[dial], int):
            regularizer[dial] = float(regularizer[dial])
    return identity


def drop_unused_strength(config: DictConfig) -> DictConfig:
    """Set the strength of a set that has none to null.

    A sweep of strengths over several regularizers gives every one of them each strength; for a set without one they are all
    the same job.

    Args:
        config: Of one job of a sweep; changed in place.

    Returns:
        The same object.
    """
    if config.regularizer.set in SETS and SETS[config.regularizer.set].strength is None:
        config.regularizer.strength = None
    return config


def job_name(config: Container) -> str:
    """A readable name with a short checksum of the run's identity: ``layerwise_subset-0.5-seed0-3fa91c05b7``."""
    identity = identity_of(config)
    regularizer = identity["regularizer"]
    if regularizer["set"] in SETS and SETS[regularizer["set"]].strength is None:
        regularizer["strength"] = None  # see drop_unused_strength
    relaxation = regularizer["relaxation"]
    rho = f"rho{relaxation}" if isinstance(relaxation, str) else f"rho{relaxation:g}"
    dials = [regularizer["strength"], rho if relaxation else None]
    parts = [regularizer["name"], *(str(dial) for dial in dials if dial is not None), f"seed{identity['seed']}"]
    checksum = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
    return re.sub(r"[^\w.+-]+", "_", "-".join([*parts, checksum]))


def _job_of_root(*, _root_: Container) -> str:
    return job_name(_root_)


def _of_new_adapter(value: Any, *, _parent_: DictConfig) -> Any:  # Any: a number of either kind
    """A default for adapters that begin anew; null where one is continued, which has its own."""
    is_continued = _parent_.adapter is not None and _parent_.adapter_use != "merge"
    return None if is_continued else value
