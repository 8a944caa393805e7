"""Reads the overrides of a `drpt train` command: what each one sets, its values, and all mistakes in one report.

Called by `drpt.app.prepare` and `drpt.app.sweep` before anything is composed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from hydra.core.override_parser.types import Glob, Override, Sweep
from omegaconf import DictConfig, OmegaConf

from drpt.app.groups import CHOICE, NESTED, check_choices, choices, compose_groups, is_of_hydra
from drpt.app.options import has_class, is_unknown_to_hydra, kind_of_option, put
from drpt.app.words import Word, in_shell, read_word, spelled
from drpt.kinds import Kind, takes_text
from drpt.tasks.errors import ConfigError

# Hydra's options for result folders, which runs_folder and sweep set, and for the number of jobs, which -m sets.
_OURS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.output_subdir", "hydra.job.chdir", "hydra.mode")
_DECIDES_NEEDS = ("task", "experiment")  # groups whose choices select choices of other groups
_NAMES_CLASSES = ("data", *NESTED, "reward", "task", "experiment")  # groups that decide which classes a configuration names


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One override of a command."""

    typed: Word  # the override as typed
    spelled: Word  # the override as it is passed to Hydra, texts quoted
    override: Override  # the result of Hydra's parser
    kind: Kind  # admissible types of the option's values
    is_group: bool = False  # whether it chooses from a config group
    is_glob: bool = False  # whether it is a pattern that chooses all matching names of a group

    @property
    def is_base(self) -> bool:
        """Whether Hydra needs it for composing: a choice from a group, or an option of Hydra itself."""
        return self.is_group or is_of_hydra(self.typed)

    @property
    def is_sweep(self) -> bool:
        """Whether the override has several values."""
        return bool(self.override.is_sweep_override())

    def first(self) -> str:
        """The override with the first of its values."""
        return next(iter(self.values()))

    def values(self) -> list[str]:
        """Single-valued overrides, one for each value."""
        if not self.is_sweep:
            return [self.spelled.text]
        return [f"{self.override.get_key_element()}={value}" for value in self.override.sweep_string_iterator()]


def read_command(texts: Sequence[str], *, is_sweep: bool) -> tuple[Said, ...]:
    """Read the overrides of a command.

    Args:
        texts: Overrides as typed, without flags.
        is_sweep: Whether an override may have several values.

    Returns:
        The overrides in their order. The last choice from a group counts; choices of nothing are left out where nothing is
        needed (``reward=null``).

    Raises:
        ConfigError: An override is malformed, chooses a name that does not exist, or removes something that is needed; one
            line for each fault.
    """
    table = choices(tuple(text for text in texts if text.startswith("hydra.searchpath=")))
    faults: list[str] = []
    words: list[Word] = []
    for text in texts:
        try:
            words.append(read_word(text))
        except ConfigError as error:
            meant = " or ".join(f"{group}={text}" for group, names in table.items() if text in names)
            faults.append(f"{str(error)[:-1]}, such as {meant}." if meant else str(error))
    said: dict[int, Said] = {}
    for number, word in enumerate(words):
        if word.key in table or is_of_hydra(word):
            try:
                said[number] = _read_base(word, table, is_sweep=is_sweep)
            except ConfigError as error:
                faults.append(str(error))
    said = _last_choices(said)
    base = list(said.values())
    faults += [] if faults else _faults_of_nulls(base, table)
    configs = [] if faults else _configs(base, words)
    for number, word in enumerate(words):
        if number not in said and not (word.key in table or is_of_hydra(word)):
            try:
                said[number] = _read(word, _kind(word, configs), is_sweep=is_sweep)
            except ConfigError as error:
                faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(dict.fromkeys(faults)))
    return tuple(said[number] for number in sorted(said) if not chooses_nothing(said[number]))


def base_words(command: Sequence[Said]) -> list[str]:
    """The overrides that Hydra needs for composing, each with its first value.

    Args:
        command: Overrides from `read_command`.

    Returns:
        Overrides in Hydra's grammar.
    """
    return [one.first() for one in command if one.is_base and not chooses_nothing(one)]


def chooses_nothing(said: Said) -> bool:
    """Whether an override sets a group to null (``reward=null``), which is allowed where the group is not needed."""
    return said.is_group and not said.is_sweep and said.override.value() is None


def _read_base(word: Word, table: Mapping[str, Sequence[str]], *, is_sweep: bool) -> Said:
    if word.key not in table:
        if word.key in _OURS:
            raise ConfigError(f"{word.shown}: use runs_folder=… and sweep=… to set where results go, and -m for several jobs.")
        if word.key == "hydra":
            raise ConfigError(f"{word.shown}: hydra is a section: set one of its options instead.")
        if word.key.startswith("hydra.") and is_unknown_to_hydra(word.key):
            raise ConfigError(f"{word.shown}: Hydra has no such option.")
        return _read(word, Kind(), is_sweep=is_sweep)
    said = _read(word, CHOICE, is_sweep=is_sweep)
    names, pattern = table[word.key], said.override._value
    if isinstance(pattern, Glob):
        found = pattern.filter(list(names))
        if not found:
            raise ConfigError(f"{word.shown} matches none of the choices: {', '.join(names)}.")
        whole = replace(word, value=",".join(f"'{name}'" for name in found))
        return replace(said, spelled=whole, override=whole.parse(), is_group=True, is_glob=True)
    values = list(said.override.sweep_iterator()) if said.override.is_discrete_sweep() else [said.override.value()]
    for value in values:
        if isinstance(value, Glob):
            listed = ",".join(one.include[0] if isinstance(one, Glob) else str(getattr(one, "text", one)) for one in values)
            raise ConfigError(
                f"{word.shown}: a pattern cannot be combined with other values; write several patterns as a list, "
                f"{in_shell(f'{word.key}=glob([{listed}])')}."
            )
        if isinstance(value, Sweep):
            raise ConfigError(f"{word.shown}: {word.key} is a group; choose by name. Choices: {', '.join(names)}.")
    if faults := check_choices(word, [getattr(value, "text", value) for value in values], names):
        raise ConfigError("\n".join(faults))
    return replace(said, is_group=True)


def _read(word: Word, kind: Kind, *, is_sweep: bool) -> Said:
    whole = spelled(word, kind, is_sweep=is_sweep)
    override = whole.parse()
    if isinstance(override._value, Glob) and kind is not CHOICE:
        raise ConfigError(f"{word.shown}: glob(…) lists the choices of a group, but {word.key} is not a group.")
    if override.is_sweep_override() and not is_sweep:
        raise ConfigError(f"{word.shown} gives several values: use drpt train -m for a sweep.")
    return Said(typed=word, spelled=whole, override=override, kind=kind)


def _last_choices(said: Mapping[int, Said]) -> dict[int, Said]:
    """Keep the last of several choices from one group."""
    last = {one.typed.key: number for number, one in said.items() if one.is_group}
    return {number: one for number, one in said.items() if not one.is_group or last[one.typed.key] == number}


def _faults_of_nulls(base: Sequence[Said], table: Mapping[str, Sequence[str]]) -> list[str]:
    """Messages about overrides that set a needed group to null."""
    empty = [one for one in base if one.is_group and None in _choices_of(one)]
    if not empty:
        return []
    faults = []
    for config in _configs_by_needs([one for one in base if one not in empty]):
        for one in empty:
            group = one.typed.key
            if config.get(group) is None:
                if one.is_sweep:
                    faults.append(
                        f"{one.typed.shown}: null cannot be swept with other choices; task=… selects what each task needs."
                    )
                continue
            needs = "every run needs one"
            if config.task is not None and group in {"algorithm", "rollout", "reward"}:
                needs = f"task={config.task.name} needs one"
            faults.append(f"{one.typed.shown}: {needs}. Choices: {', '.join(table[group])}.")
    return list(dict.fromkeys(faults))


def _configs_by_needs(base: Sequence[Said]) -> Iterator[DictConfig]:
    """Configurations for every combination of choices that select other choices, with the first value of all others."""
    deciding = [one for one in base if one.is_sweep and one.typed.key in _DECIDES_NEEDS]
    others = [one for one in base if one not in deciding]
    for values in product(*(one.values() for one in deciding)):
        yield compose_groups([*base_words(others), *values])


def _choices_of(said: Said) -> list[object]:
    override = said.override
    return list(override.sweep_iterator()) if override.is_discrete_sweep() else [override.value()]


def _configs(base: Sequence[Said], words: Sequence[Word]) -> list[dict[str, Any]]:  # Any: a configuration's values
    """Configurations that tell which classes are named, one for each deciding choice; none if no override depends on it."""
    if not any(has_class(word.key) for word in words):
        return []
    turns = [one for one in base if one.is_sweep and one.typed.key in _NAMES_CLASSES]
    fixed = [one for one in base if one not in turns]
    combinations = [base_words(base)]
    for one in turns:
        others = base_words([*fixed, *(other for other in turns if other is not one)])
        combinations += [[*others, value] for value in one.values() if not value.endswith("=null")]
    configs = []
    for combination in dict.fromkeys(tuple(combination) for combination in combinations):
        values = OmegaConf.to_container(compose_groups(combination), resolve=False)
        assert isinstance(values, dict)
        config = {str(key): value for key, value in values.items()}
        for word in words:
            if has_class(word.key) and word.key.endswith("._target_"):
                put(config, word.key, word.value)
        configs.append(config)
    return configs


def _kind(word: Word, configs: Sequence[Mapping[str, Any]]) -> Kind:
    kinds = [kind_of_option(word.key, config) for config in configs or [{}]]
    return next((kind for kind in kinds if takes_text(kind)), kinds[0])
