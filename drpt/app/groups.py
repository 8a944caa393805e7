"""The groups of the configuration and their choices, and what is wrong with a word that chooses."""

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

CHOICE = Kind(members=(str,), is_optional=True)  # the kind of a group's value: a name, or null
NESTED = ("data/general", "data/target")  # groups within a group
_MANY = 64  # compositions that are kept: each costs a tenth of a second, and words are looked at more than once


@cache
def loader(folder: Path) -> ConfigLoaderImpl:
    """Hydra's reader of a folder like ``conf/``."""
    version.setbase("1.3")
    return ConfigLoaderImpl(create_config_search_path(str(folder)))


def is_of_hydra(word: Word) -> bool:
    """Whether a word is about Hydra's own configuration."""
    return word.key.split(".")[0].split("/")[0] == "hydra"


@cache
def choices(search_words: tuple[str, ...] = ()) -> Mapping[str, tuple[str, ...]]:
    """All groups and the names in each.

    Args:
        search_words: Words that set ``hydra.searchpath``, if there are any: folders with more choices.

    Returns:
        Names by group, in alphabetical order; of subfolders, with a slash.

    Raises:
        ConfigError: The words name no folders.
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

    # The groups are ours: other folders beside a user's choices may be anything, and large.
    groups = sorted(path.name for path in config_folder().iterdir() if path.is_dir())
    # Schemas have no values of their own, and what presets start from is not complete: neither is a choice.
    hidden = {*ALGORITHMS, BASE}
    return {group: tuple(name for name in below(group) if name not in hidden) for group in (*groups, *NESTED)}


def check_choices(word: Word, values: Sequence[object], names: Sequence[str]) -> list[str]:
    """What is wrong with the values of a word that chooses in a group.

    Args:
        word: As typed.
        values: What Hydra read, a choice each; texts, None, lists or mappings.
        names: The choices that exist.

    Returns:
        A line for each fault.
    """
    exist = f"Choices: {', '.join(names)}."
    if word.prefix == "~" and word.value is not None:
        return [f"{word.shown}: write ~{word.key} without a choice, or {word.key}=… for another one."]
    if word.prefix in {"+", "++"}:
        return [f"{word.shown}: {word.key} is a group; write it without the plus."]
    faults = []
    for value in values:
        if isinstance(value, Mapping | list):
            faults.append(f"{word.shown}: {word.key} is a group, of which one is chosen by its name. {exist}")
        elif value == "":
            faults.append(f"{word.key}= is empty. {exist}")
        elif value is not None and value not in names:
            faults.append(f"{word.key}={value!r} is not known.{did_you_mean(str(value), names)} {exist}")
    return faults


def globbed(word: Word, pattern: Glob, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The choices that a pattern admits.

    Args:
        word: As typed.
        pattern: Pattern that the names must fit.
        names: The choices that exist.

    Returns:
        Names; and faults, where there is none.
    """
    found = list(pattern.filter(list(names)))
    return found, [] if found else [f"{word.shown} fits none of the choices: {', '.join(names)}."]


def compose_groups(words: Sequence[str]) -> DictConfig:
    """Compose the configuration that choices lead to, before any other word.

    Args:
        words: Those that choose, one choice each, and those about Hydra's own configuration.

    Returns:
        Free to be changed; Hydra's own node is there.

    Raises:
        ConfigError: Hydra cannot compose it.
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
        fits = "its value is of another kind than that option of Hydra's takes"
        said = f"Hydra cannot use {' '.join(own)}: {fits}." if own else explain_composition(error)
        raise ConfigError(said) from error
