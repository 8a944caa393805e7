"""Configurations of a sweep's jobs in plain values. What jobs share is composed once, for speed."""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import Container, DictConfig, ListConfig

from drpt.app.axes import Axis, is_simple, related
from drpt.app.command import Said
from drpt.app.compose import apply, compose, plain
from drpt.app.config import resolve, resolve_option
from drpt.app.options import put
from drpt.tasks.errors import ConfigError


class JobValues:
    """Composes the jobs of a sweep.

    A job has one value from each axis. Overrides that choose from groups, that add or remove keys, or whose options are
    nested in each other are composed in order, once for each combination. The values of all other axes are then set in place,
    and only these options and those that refer to other options are resolved again.

    Args:
        axes: Axes of the sweep.
    """

    def __init__(self, axes: Sequence[Axis]) -> None:
        ordered = related(axes)
        self._is_in_place = [axis.is_swept and is_simple(axis) and place not in ordered for place, axis in enumerate(axes)]
        self._bases: dict[tuple[str, ...], _Base] = {}

    def of(self, job: Sequence[Said]) -> tuple[dict[str, Any], list[str]]:  # Any: a configuration's values
        """The configuration of a job.

        Args:
            job: Overrides of the job: one value of each axis, in the axes' order.

        Returns:
            Plain values, interpolations resolved, which share parts with those of other calls; and one message for each fault.

        Raises:
            ConfigError: The choices cannot be composed.
        """
        composed = [value for value, is_in_place in zip(job, self._is_in_place, strict=True) if not is_in_place]
        in_place = [value for value, is_in_place in zip(job, self._is_in_place, strict=True) if is_in_place]
        key = tuple(value.spelled.text for value in composed)
        if key not in self._bases:
            self._bases[key] = _base(composed)
        return self._bases[key].with_values(in_place)


@dataclass(slots=True, kw_only=True)
class _Base:
    """The part of the configuration that several jobs share."""

    config: DictConfig
    values: dict[str, Any]  # resolved values
    faults: list[str]
    references: dict[str, str]  # unresolved values of options that refer to others, by option
    lost: dict[str, str]  # messages about unresolvable references, by option; setting a value may resolve them
    set_to: dict[str, Said] = field(default_factory=dict)  # overrides that are currently set, by option

    def with_values(self, words: Sequence[Said]) -> tuple[dict[str, Any], list[str]]:
        sections = [word for word in words if isinstance(_node(self.config, word.typed.key), DictConfig)]
        if sections:  # a section that was replaced cannot be restored
            return _whole(self.config, words, self.faults)
        faults = list(self.faults)
        options = self._affected([word.typed.key for word in words])
        for word in words:
            option = word.typed.key
            if self.set_to.get(option) is not word:
                try:
                    apply(word, self.config)
                except ConfigError as error:
                    faults.append(str(error))
                    continue
                self.set_to[option] = word
            options.append(option)
        values, lost = _copied(self.values), dict[str, str]()
        for option in dict.fromkeys(options):
            is_found, value = resolve_option(self.config, option, lost)
            if is_found:
                put(values, option, value)
        lost |= {option: fault for option, fault in self.lost.items() if option not in options}
        return values, [*faults, *lost.values()]

    def _affected(self, changed: Sequence[str]) -> list[str]:
        """Options whose values may change with the given ones: those that refer to them, or to something unknown."""
        found: dict[str, None] = {}
        while True:
            before = len(found)
            for option, text in self.references.items():
                targets = _targets(option, text)
                if targets is None or any(_is_about(one, target) for one in (*changed, *found) for target in targets):
                    found[option] = None
            if len(found) == before:
                return list(found)


def _base(words: Sequence[Said]) -> _Base:
    composition = compose(words)
    values, lost = resolve(composition.config)
    return _Base(
        config=composition.config,
        values=values,
        faults=list(composition.faults),
        references=_references(plain(composition.config)),
        lost=lost,
    )


def _whole(config: DictConfig, words: Sequence[Said], faults: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    config, own = copy.deepcopy(config), list(faults)
    for word in words:
        try:
            apply(word, config)
        except ConfigError as error:
            own.append(str(error))
    values, others = resolve(config)
    return values, [*own, *others.values()]


def _node(config: DictConfig, option: str) -> object:
    """The unresolved value of an option; None if there is none."""
    node: object = config
    for part in option.split("."):
        if isinstance(node, Container) and (node._is_none() or node._is_missing()):
            return None
        if isinstance(node, DictConfig) and part in node:
            node = node._get_node(part)
        elif isinstance(node, ListConfig) and part.isdigit() and int(part) < len(node):
            node = node._get_node(int(part))
        else:
            return None
    return node


def _targets(option: str, text: str) -> list[str] | None:
    """The options that a text refers to; None if the text does not tell."""
    section = option.rpartition(".")[0]
    targets = []
    for inner in re.findall(r"\$\{([^{}]*)\}", text):
        if inner.startswith("drpt_of_new_adapter:"):
            targets += [f"{section}.adapter", f"{section}.adapter_use"]
        elif re.fullmatch(r"\w+(\.\w+)*", inner):
            targets.append(inner)
        else:
            return None
    return targets if text.count("${") == len(re.findall(r"\$\{[^{}]*\}", text)) else None


def _is_about(option: str, other: str) -> bool:
    """Whether two options are the same or one contains the other."""
    return f"{option}.".startswith(f"{other}.") or f"{other}.".startswith(f"{option}.")


def _references(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Values with interpolations ``${…}``, also inside lists, by option."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _references(value, f"{prefix}{key}.")
        elif "${" in str(value):
            found[f"{prefix}{key}"] = str(value)
    return found


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of all sections that shares the lists."""
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in values.items()}
