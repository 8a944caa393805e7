"""Every key of the configuration with its kind, default and meaning: for ``drpt train --help KEY`` and the documentation.

Meanings are the comments beside the fields of the schema, so that a key is explained in one place.
"""

import enum
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from drpt.app.compose import compose_run
from drpt.app.options import ALGORITHMS
from drpt.tasks.run_spec import RunSpec

_FIELD = re.compile(r"^    (\w+): [^#\n]*#\s*(.*)$", re.MULTILINE)
_CHOICE = re.compile(r"\b(?:a key of|a value of|one of) ([A-Z]\w+)")
# Tasks whose defaults are shown; a key that is null in the first may be set in a later one.
_TASKS = ("sft", "rlvr", "rlhf")


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key."""

    name: str  # with its section: trainer.max_steps
    kind: str  # int, float, text, …
    meaning: str
    choices: tuple[str, ...]  # the values that exist, where there is a list of them
    defaults: Mapping[str, object]  # value by task; a task without the key is left out

    @property
    def section(self) -> str:
        """The config group that the key belongs to; empty for the run's own keys."""
        return self.name.rpartition(".")[0].partition(".")[0]

    @property
    def default(self) -> str:
        """The default value in words; by task where tasks differ."""
        shown = {task: _shown(value) for task, value in self.defaults.items()}
        if len(set(shown.values())) <= 1:
            return next(iter(shown.values()), "–")
        return ", ".join(f"{value} ({task})" for task, value in shown.items())


def read_keys() -> list[Key]:
    """All keys, in the order of the schema.

    Returns:
        A key for each field of `RunSpec` and of the sections in it. Keys of nodes with a ``_target_`` (sources, rewards) are
        arguments of that class and are not listed.
    """
    configs = {task: compose_run([f"task={task}", "sweep=reference"]) for task in _TASKS}
    found = []
    for name, owner, field_type in _walk(RunSpec, ""):
        meaning, choices = _explained(owner, name.rpartition(".")[2])
        if name == "sweep":  # made up above; a command without one is named after the time
            found.append(Key(name=name, kind=_kind(field_type), meaning=meaning, choices=choices, defaults={}))
            continue
        defaults = {task: value for task, config in configs.items() if (value := _look_up(config, name)) is not _MISSING}
        found.append(Key(name=name, kind=_kind(field_type), meaning=meaning, choices=choices, defaults=defaults))
    return list({key.name: key for key in found}.values())


_MISSING = object()


def _walk(owner: type, prefix: str) -> Iterator[tuple[str, type, Any]]:
    hints = typing.get_type_hints(owner)
    for field in fields(owner):
        inner = _sections(hints[field.name])
        if field.name == "algorithm":
            inner = list(ALGORITHMS.values())
        if not inner:
            yield f"{prefix}{field.name}", owner, hints[field.name]
        for section in inner:
            yield from _walk(section, f"{prefix}{field.name}.")


def _sections(hint: Any) -> list[type]:
    members = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return [member for member in members if isinstance(member, type) and is_dataclass(member)]


def _explained(owner: type, field: str) -> tuple[str, tuple[str, ...]]:
    """The comment beside a field, and the values that it names a list of."""
    for base in owner.__mro__:
        if base is object or field not in vars(base).get("__annotations__", {}):
            continue
        comment = dict(_FIELD.findall(inspect.getsource(base))).get(field, "")
        if named := _CHOICE.search(comment):
            values = vars(sys.modules[base.__module__]).get(named[1])
            if values is not None:
                names = tuple(str(value.value if isinstance(value, enum.Enum) else value) for value in values)
                return (comment[: named.start()] + comment[named.end() :]).strip(" ,;:"), names
        return comment, ()
    return "", ()


def _kind(hint: Any) -> str:
    words = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null", Any: "any"}
    if isinstance(hint, types.UnionType):
        return " or ".join(_kind(member) for member in typing.get_args(hint))
    if (origin := typing.get_origin(hint)) is not None:
        inside = ", ".join(_kind(argument) for argument in typing.get_args(hint))
        return f"{'list' if origin is list else 'mapping'} of {inside}"
    return words.get(hint, getattr(hint, "__name__", str(hint)))


def _look_up(config: object, name: str) -> object:
    for part in name.split("."):
        if not isinstance(config, DictConfig) or part not in config:
            return _MISSING
        config = "given by the user" if OmegaConf.is_missing(config, part) else config[part]
    return config


def _shown(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, DictConfig):
        return f"a {value['_target_'].rpartition('.')[2]}" if "_target_" in value else "a mapping"
    return str(value)
