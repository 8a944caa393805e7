"""Every configuration key with its type, default and meaning, for ``drpt train --help KEY`` and the documentation.

The meaning of a key is the trailing comment of its field in the schema, so that each key is explained in one place.
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
# Tasks whose defaults are shown; a key that is null in the first may have a value in a later one.
_TASKS = ("sft", "rlvr", "rlhf")


@dataclass(frozen=True, kw_only=True)
class Key:
    """A configuration key."""

    name: str  # full name, such as trainer.max_steps
    kind: str  # type in words, such as "whole number"
    meaning: str
    choices: tuple[str, ...]  # admissible values, if the schema names a list of them
    defaults: Mapping[str, object]  # default by task; tasks without the key are left out

    @property
    def section(self) -> str:
        """The config group of the key; empty for keys outside of groups."""
        return self.name.rpartition(".")[0].partition(".")[0]

    @property
    def default(self) -> str:
        """The default in words, by task if tasks differ."""
        shown = {task: _shown(value) for task, value in self.defaults.items()}
        if len(set(shown.values())) <= 1:
            return next(iter(shown.values()), "–")
        return ", ".join(f"{value} ({task})" for task, value in shown.items())


def read_keys() -> list[Key]:
    """Read all keys from the schema.

    Returns:
        One key for each field of `RunSpec` and its sections, in the order of the schema. Keys of nodes with a ``_target_``
        (sources, rewards) are arguments of that class and are not listed.
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
    """The trailing comment of a field, and the admissible values if the comment names a list of them."""
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
