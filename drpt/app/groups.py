"""The config groups and their choices, and checks of overrides that choose from them."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Glob
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from drpt.app.complaints import explain_composition
from drpt.app.config import register
from drpt.app.options import ALGORITHMS
from drpt.app.paths import BASE, config_folder
from drpt.app.words import Word, in_shell
from drpt.checks import did_you_mean
from drpt.kinds import Kind
from drpt.tasks.errors import ConfigError

CHOICE = Kind(members=(str,), is_optional=True)  # type of a group's value: a name or null
NESTED = ("data/general", "data/target")  # groups inside another group
_MANY = 64  # compositions that are cached: each takes a tenth of a second and is needed more than once


@cache
def loader(folder: Path) -> ConfigLoaderImpl:
    """Hydra's config loader for a folder such as ``conf/``."""
    version.setbase("1.3")
    return ConfigLoaderImpl(create_config_search_path(str(folder)))


def is_of_hydra(word: Word) -> bool:
    """Whether an override concerns Hydra's own configuration."""
    return word.key.split(".")[0].split("/")[0] == "hydra"


@cache
def choices(search_words: tuple[str, ...] = ()) -> Mapping[str, tuple[str, ...]]:
    """List all groups and their choices.

    Args:
        search_words: Overrides of ``hydra.searchpath``, which name folders with more choices.

    Returns:
        Names by group, in alphabetical order; names in subfolders have a slash.

    Raises:
        ConfigError: The overrides do not name folders.
    """
    try:
        _, repository = loader(config_folder())._parse_overrides_and_create_caching_repo(None, list(search_words))
    except HydraException as error:
        raise ConfigError(f"{in_shell(search_words[-1])}: write hydra.searchpath=[file:///a/folder/like/conf].") from error

    def below(folder: str) -> Iterator[str]:
        yield from repository.get_group_options(folder, ObjectType.CONFIG)
        for inner in repository.get_group_options(folder, ObjectType.GROUP):
            if f"{folder}/{inner}" not in NESTED:
                yield from (f"{inner}/{name}" for name in below(f"{folder}/{inner}"))

    # Only drpt's groups count: other folders in a user's search path may be unrelated, and large.
    groups = sorted(path.name for path in config_folder().iterdir() if path.is_dir())
    # Schemas have no values of their own, and what presets start from is not complete: neither is a choice.
    hidden = {*ALGORITHMS, BASE}
    return {group: tuple(name for name in below(group) if name not in hidden) for group in (*groups, *NESTED)}


def check_choices(word: Word, values: Sequence[object], names: Sequence[str]) -> list[str]:
    """Check an override that chooses from a group.

    Args:
        word: Override as typed.
        values: Values as Hydra parsed them: texts, None, lists or mappings.
        names: Known choices of the group.

    Returns:
        A list of messages for the user, one for each fault; empty if there is none.
    """
    exist = f"Choices: {', '.join(names)}."
    if word.prefix == "~" and word.value is not None:
        return [f"{word.shown}: write ~{word.key} without a choice, or {word.key}=… for another one."]
    if word.prefix in {"+", "++"}:
        return [f"{word.shown}: {word.key} is a group; write it without the plus."]
    faults = []
    for value in values:
        if isinstance(value, Mapping | list):
            faults.append(f"{word.shown}: {word.key} is a group; choose one name. {exist}")
        elif value == "":
            faults.append(f"{word.key}= is empty. {exist}")
        elif value is not None and value not in names:
            faults.append(f"{word.key}={value!r} is not known.{did_you_mean(str(value), names)} {exist}")
    return faults


def globbed(word: Word, pattern: Glob, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The choices that match a pattern.

    Args:
        word: Override as typed.
        pattern: Pattern for the names.
        names: Known choices of the group.

    Returns:
        Matching names, and a message if there are none.
    """
    found = list(pattern.filter(list(names)))
    return found, [] if found else [f"{word.shown} matches none of the choices: {', '.join(names)}."]


def compose_groups(words: Sequence[str]) -> DictConfig:
    """Compose the configuration of the choices, before other overrides are applied.

    Args:
        words: Overrides that choose from groups, with one choice each, and overrides of Hydra's own configuration.

    Returns:
        A new configuration with Hydra's own node.

    Raises:
        ConfigError: Hydra cannot compose the configuration.
    """
    register()
    return copy.deepcopy(_composed(tuple(words), config_folder()))


@lru_cache(maxsize=_MANY)
def _composed(words: tuple[str, ...], folder: Path) -> DictConfig:
    try:
        return loader(folder).load_configuration("train", list(words), run_mode=RunMode.RUN, from_shell=False)
    except MissingConfigException as error:
        raise ConfigError(explain_composition(error)) from error
    except (HydraException, OmegaConfBaseException, AssertionError, ValueError, TypeError, AttributeError, KeyError) as error:
        own = [in_shell(word) for word in words if word.lstrip("+~").startswith("hydra")]
        fits = "the value has the wrong type for this option of Hydra"
        said = f"Hydra cannot use {' '.join(own)}: {fits}." if own else explain_composition(error)
        raise ConfigError(said) from error
