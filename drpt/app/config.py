"""Turns a composed configuration into a checked `RunSpec`, and registers the schema and resolvers with Hydra. No torch."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.config_store import ConfigStore
from omegaconf import Container, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from drpt.app.build_spec import build_spec
from drpt.app.complaints import explain_interpolation
from drpt.app.options import ALGORITHMS
from drpt.geometry.lookup import set_entry
from drpt.run_identity import job_name
from drpt.tasks.errors import ConfigError
from drpt.tasks.run_spec import RunSpec

Config = TypeVar("Config", DictConfig, dict[str, Any])
_FAULTY = object()


def register() -> None:
    """Register the schema and drpt's resolvers with Hydra and OmegaConf; further calls have no effect."""
    store = ConfigStore.instance()
    store.store(name="run_schema", node=RunSpec)
    for name, node in ALGORITHMS.items():
        store.store(group="algorithm", name=name, node=node)
    OmegaConf.register_new_resolver("drpt_job", _job_of_root, replace=True)
    OmegaConf.register_new_resolver("drpt_folder", _folder_of_root, replace=True)
    OmegaConf.register_new_resolver("drpt_home", os.path.expanduser, replace=True)
    OmegaConf.register_new_resolver("drpt_of_new_adapter", _of_new_adapter, replace=True)


def check_config(config: DictConfig) -> RunSpec:
    """Check every section and return the typed configuration.

    Args:
        config: Configuration composed with the schema; it may contain the ``hydra`` node.

    Returns:
        The checked configuration, interpolations resolved.

    Raises:
        ConfigError: A key is unknown, an interpolation cannot be resolved, or a value is missing or breaks its rule.
    """
    values, faults = resolve(config)
    if not faults:
        return build_spec(values)
    lines = list(faults.values())
    try:
        build_spec(values)
    except ConfigError as error:
        unread = tuple(f"{option} is needed" for option in faults)
        lines += [line for line in str(error).splitlines() if not line.startswith(unread)]
    raise ConfigError("\n".join(lines))


def resolve(config: DictConfig) -> tuple[dict[str, Any], dict[str, str]]:
    """Resolve the interpolations of a configuration.

    Args:
        config: Composed configuration; Hydra's own node is left out.

    Returns:
        Plain values, without those that cannot be resolved, and a message about each of these by option.
    """
    faults: dict[str, str] = {}
    found = {str(key): _value_of(config, key, str(key), faults) for key in config if key != "hydra"}
    return {key: value for key, value in found.items() if value is not _FAULTY}, faults


def resolve_option(config: DictConfig, option: str, faults: dict[str, str]) -> tuple[bool, Any]:  # Any: an option's value
    """Resolve one option.

    Args:
        config: Composed configuration.
        option: Full name of an existing option.
        faults: Messages by option; one is added if the option cannot be resolved.

    Returns:
        Whether there is a value, and the value.
    """
    section, _, key = option.rpartition(".")
    parent = OmegaConf.select(config, section) if section else config
    if isinstance(parent, ListConfig) or not isinstance(parent, DictConfig):
        return False, None
    value = _value_of(parent, key, option, faults)
    return value is not _FAULTY, value


def _value_of(parent: Any, key: Any, option: str, faults: dict[str, str]) -> Any:  # Any: a container, and its keys and values
    node = parent._get_node(key)
    if not isinstance(node, Container) and not node._is_interpolation():
        return node._value()
    try:
        value = None if node._is_none() else "???" if node._is_missing() else parent[key]
    except (OmegaConfBaseException, RecursionError) as error:
        faults[option] = explain_interpolation(option, node._value(), error)
        return _FAULTY
    if isinstance(value, ListConfig):
        return [_value_of(value, place, f"{option}.{place}", faults) for place in range(len(value))]
    if isinstance(value, DictConfig):
        inner = {str(name): _value_of(value, name, ".".join([option, str(name)]), faults) for name in value}
        return {name: found for name, found in inner.items() if found is not _FAULTY}
    return value


def drop_unused_strength(config: Config) -> Config:
    """Set the strength to null for a set without a strength.

    A sweep over regularizers and strengths gives each regularizer every strength. For a set without a strength, these jobs
    are then all the same.

    Args:
        config: Configuration of one job of a sweep, changed in place.

    Returns:
        The same object.
    """
    regularizer = config["regularizer"]
    entry = set_entry(regularizer["set"])
    if entry is not None and entry.strength is None:
        regularizer["strength"] = None
    return config


def plain_config(config: Container) -> dict[str, Any]:
    """Convert a run's configuration to plain values, for `drpt.run_identity`.

    Args:
        config: Composed configuration; Hydra's own node and unknown keys are left out.

    Returns:
        Plain values, interpolations resolved.
    """
    assert isinstance(config, DictConfig)
    names = [field.name for field in fields(RunSpec) if field.name in config and not OmegaConf.is_missing(config, field.name)]

    def plain(node: Any) -> Any:  # Any: a configuration's values
        return OmegaConf.to_container(node, resolve=True) if isinstance(node, Container) else node

    # The node of a group that is null is an empty container; looked up by its key, it is None.
    return {name: plain(config[name]) for name in names}


def job_folder(config: Container) -> Path:
    """The folder of a run, absolute or relative to the current folder.

    Args:
        config: Composed configuration of the run.

    Returns:
        The path ``runs_folder/sweep/job``.
    """
    values = plain_config(config)
    return Path(values["runs_folder"]).expanduser() / values["sweep"] / job_name(values)


def _job_of_root(*, _root_: Container) -> str:
    return job_name(plain_config(_root_))


def _folder_of_root(*, _root_: Container) -> str:
    return str(job_folder(_root_).absolute())


def _of_new_adapter(value: Any, *, _parent_: DictConfig) -> Any:  # Any: a number of either kind
    """A default for new adapters; None if an adapter is continued, which has its own value."""
    is_continued = _parent_.adapter is not None and _parent_.adapter_use != "merge"
    return None if is_continued else value
