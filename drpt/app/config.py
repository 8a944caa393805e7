"""From a composed configuration to a checked `RunSpec`; no torch."""

import copy
from dataclasses import fields
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from drpt.app.schema import RunSpec
from drpt.geometry.catalogue import SETS
from drpt.modules.algorithm_spec import AlgorithmSpec, GroupAlgorithmSpec
from drpt.modules.ppo_spec import PpoSpec
from drpt.run_identity import job_name

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


def plain_config(config: Container) -> dict[str, Any]:
    """A run's configuration in plain values.

    Args:
        config: Composed; Hydra's own node and keys of no schema are left out.

    Returns:
        Interpolations resolved; for `drpt.run_identity`.
    """
    assert isinstance(config, DictConfig)
    names = [field.name for field in fields(RunSpec) if field.name in config and not OmegaConf.is_missing(config, field.name)]

    def plain(node: Any) -> Any:  # Any: a configuration's values
        return OmegaConf.to_container(node, resolve=True) if isinstance(node, Container) else node

    # A node of a group that is null is a container that holds nothing; by its key it is None.
    return {name: plain(config[name]) for name in names}


def _job_of_root(*, _root_: Container) -> str:
    return job_name(plain_config(_root_))


def _of_new_adapter(value: Any, *, _parent_: DictConfig) -> Any:  # Any: a number of either kind
    """A default for adapters that begin anew; null where one is continued, which has its own."""
    is_continued = _parent_.adapter is not None and _parent_.adapter_use != "merge"
    return None if is_continued else value
