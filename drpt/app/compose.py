"""Composes configurations: Hydra composes the choices, then the other overrides are applied one by one to find all faults."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import HydraException
from omegaconf import Container, DictConfig, ListConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from drpt.app.command import Said, base_words, read_command
from drpt.app.complaints import explain_refusal
from drpt.app.config import check_config
from drpt.app.groups import compose_groups
from drpt.app.options import unknown_options
from drpt.tasks.errors import ConfigError, NotForTaskError
from drpt.tasks.run_spec import RunSpec

_REFUSALS = (
    *(HydraException, OmegaConfBaseException),
    *(ArithmeticError, AssertionError, AttributeError, KeyError, TypeError, ValueError),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """A composed configuration, and the faults of its overrides."""

    config: DictConfig  # the configuration without faulty overrides, Hydra's own node included
    faults: tuple[str, ...]
    refused: tuple[str, ...]  # options of faulty overrides


def compose_run(overrides: Sequence[str], *, with_hydra: bool = False) -> DictConfig:
    """Compose a run's configuration as `drpt train` does.

    Args:
        overrides: Overrides as on the command line, each with a single value.
        with_hydra: Whether to keep Hydra's own node.

    Returns:
        The configuration; `drpt.app.config.check_config` checks its values.

    Raises:
        ConfigError: A group, choice or option does not exist or belongs to a group that is null, or a value has the wrong
            type; one line for each fault.
    """
    composition = compose(read_command(overrides, is_sweep=False))
    if composition.faults:
        raise ConfigError("\n".join(composition.faults))
    if not with_hydra:
        _without_hydra(composition.config)
    return composition.config


def compose(command: Sequence[Said]) -> Composition:
    """Compose the configuration of a command.

    Args:
        command: Overrides of one run, each with a single value.

    Returns:
        The configuration and the faults of its overrides.

    Raises:
        ConfigError: The choices cannot be composed.
    """
    config = compose_groups(base_words(command))
    faults: dict[str, None] = {}
    refused = []
    for said in command:
        if not said.is_base:
            try:
                apply(said, config)
            except ConfigError as error:
                faults[str(error)] = None
                refused.append(said.typed.key)
    faults |= dict.fromkeys(unknown_options(plain(config)))
    return Composition(config=config, faults=tuple(faults), refused=tuple(refused))


def check_composition(composition: Composition) -> RunSpec:
    """Check a configuration, and report the faults of its overrides and its values together.

    Args:
        composition: Result of `compose`.

    Returns:
        The checked configuration.

    Raises:
        NotForTaskError: The task cannot use one of the choices.
        ConfigError: An override or a value is faulty; one line for each fault.
    """
    faults = list(composition.faults)
    try:
        spec = check_config(composition.config)
    except NotForTaskError:
        if not faults:
            raise
    except ConfigError as error:
        missing = tuple(f"{option} is needed" for option in composition.refused)
        faults += [line for line in str(error).splitlines() if not (missing and line.startswith(missing))]
    if faults:
        raise ConfigError("\n".join(dict.fromkeys(faults)))
    return spec


def apply(said: Said, config: DictConfig) -> None:
    """Apply an override.

    Args:
        said: Override of an option with a single value, not a choice from a group.
        config: Configuration, changed in place; unchanged if the override is refused.

    Raises:
        ConfigError: There is no such option, or the value has the wrong type.
    """
    if _is_in_null(said.typed.key, config):
        raise ConfigError(explain_refusal(said.typed, KeyError(said.typed.key), plain(config)))
    if not said.typed.prefix and said.override.value() == {}:
        node = OmegaConf.select(config, said.typed.key, throw_on_resolution_failure=False)
        if isinstance(node, DictConfig) and len(node) > 0:
            raise ConfigError(
                f"{said.typed.shown} changes nothing: what is in braces is added to what is there. Take a key away by its "
                f"name, ~{said.typed.key}.{next(iter(node))!s}."
            )
    if not said.typed.prefix:
        _check_shape(said, config)
    try:
        ConfigLoaderImpl._apply_overrides_to_config([said.override], config)
    except _REFUSALS as error:
        raise ConfigError(explain_refusal(said.typed, error, plain(config))) from error


def _check_shape(said: Said, config: DictConfig) -> None:
    """Refuse a list in the place of a mapping, and the reverse, which OmegaConf says in its own words."""
    node = OmegaConf.select(config, said.typed.key, throw_on_resolution_failure=False)
    value = said.override.value()
    if isinstance(node, DictConfig) and isinstance(value, list):
        raise ConfigError(f"{said.typed.shown} must be a mapping, {{key: value}}.")
    if isinstance(node, ListConfig) and isinstance(value, dict):
        raise ConfigError(f"{said.typed.shown} must be a list, [value, value].")


def plain(config: DictConfig) -> dict[str, Any]:  # Any: a configuration's values
    """A configuration in plain values, interpolations unresolved, without Hydra's own node."""
    values: dict[str, Any] = {}
    for key in config:
        node = config._get_node(key)
        if key != "hydra" and isinstance(node, Node):
            values[str(key)] = OmegaConf.to_container(node, resolve=False) if isinstance(node, Container) else node._value()
    return values


def _is_in_null(option: str, config: DictConfig) -> bool:
    """Whether a section that contains the option is null; Hydra would create one with this option only."""
    node: object = config
    for part in option.split(".")[:-1]:
        if not isinstance(node, DictConfig) or part not in node:
            return False
        node = node._get_node(part)
        if isinstance(node, Container | Node) and node._is_none():
            return True
    return False


def _without_hydra(config: DictConfig) -> None:
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    OmegaConf.set_struct(config, True)
