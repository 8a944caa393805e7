"""The options of the configuration and their types, read from the schema and from the classes that a configuration names."""

import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Any

from hydra.conf import HydraConf

from drpt.checks import did_you_mean
from drpt.kinds import Kind, item_kind, kind_of, kinds_of_arguments, value_kind
from drpt.renamed import refusal
from drpt.rl.algorithm_spec import AlgorithmSpec, GroupAlgorithmSpec
from drpt.rl.ppo_spec import PpoSpec
from drpt.tasks.run_spec import RunSpec

# Schemas of the group `algorithm`, by the name that each preset starts from.
ALGORITHMS: dict[str, type[AlgorithmSpec]] = {"group_schema": GroupAlgorithmSpec, "ppo_schema": PpoSpec}
_ANYTHING = Kind()
_TEXT = kind_of(str)
# Names that other frameworks use for an option.
_NAMES_ELSEWHERE = {
    "accumulate_grad_batches": "trainer.micro_batches",
    "batch_size": "data.general_rows",
    "gradient_accumulation_steps": "trainer.micro_batches",
    "gradient_clip_val": "optimizer.clip_norm",
    "learning_rate": "optimizer.lr",
    "max_epochs": "trainer.max_steps",
    "max_grad_norm": "optimizer.clip_norm",
    "max_seq_length": "data.max_length",
    "num_epochs": "trainer.max_steps",
    "num_train_epochs": "trainer.max_steps",
    "per_device_train_batch_size": "data.general_rows",
}
# Nodes that are built into a class: their keys are the class's arguments.
_SOURCES = ("data.source", "data.general.source", "data.target.source")
_REWARDS = ("reward.terms", "reward.judges")


def kind_of_option(option: str, config: Mapping[str, Any]) -> Kind:  # Any: a configuration's values
    """The admissible types of an option.

    Args:
        option: Full name of the option.
        config: Configuration that tells which classes are named; it may be incomplete.

    Returns:
        The types; a kind that admits anything if they are unknown.
    """
    parts = option.split(".")
    for number in range(len(parts) - 1, 0, -1):  # innermost node first
        node = ".".join(parts[:number])
        if _is_plugin(node):
            return _kind_in_plugin(_look_up(config, node), parts[number:])
    return _kind_in_schemas(parts)


def has_class(option: str) -> bool:
    """Whether an option is an argument of a class that the configuration names."""
    return option.startswith(tuple(f"{node}." for node in (*_SOURCES, *_REWARDS)))


def is_new_key(option: str, config: Mapping[str, Any]) -> bool:
    """Whether a missing option may be added: to a mapping with free keys, or as an argument of a class.

    Args:
        option: Full name of the option.
        config: Configuration as for `kind_of_option`.

    Returns:
        False if only existing options can be set there.
    """
    section, _, name = option.rpartition(".")
    if _is_plugin(section):
        node = _look_up(config, section)
        path = node.get("_target_") if isinstance(node, Mapping) else None
        return isinstance(path, str) and name in arguments_of(path)
    return any(typing.get_args(member) and value_kind(Kind((member,))) for member in kind_of_option(section, config).members)


def put(config: dict[str, Any], option: str, value: object) -> None:
    """Set a value of a configuration in plain values; missing sections are created."""
    *sections, name = option.split(".")
    for section in sections:
        inner = config.get(section)
        if not isinstance(inner, dict):
            inner = config[section] = {}
        config = inner
    config[name] = value


def _is_plugin(node: str) -> bool:
    return node in _SOURCES or node.rpartition(".")[0] in _REWARDS


def _kind_in_plugin(node: object, parts: list[str]) -> Kind:
    first, *rest = parts
    if first == "_target_":
        return _TEXT
    path = node.get("_target_") if isinstance(node, Mapping) else None
    kind = arguments_of(path).get(first, _ANYTHING) if isinstance(path, str) else _ANYTHING
    for _ in rest:
        kind = value_kind(kind) or _ANYTHING
    return kind


@cache
def arguments_of(path: str) -> Mapping[str, Kind]:
    """The admissible types of a class's arguments.

    Args:
        path: Dotted path of the class.

    Returns:
        Types by argument; empty if the class cannot be imported, which is reported when it is built.
    """
    module, _, name = path.rpartition(".")
    try:
        return kinds_of_arguments(getattr(import_module(module), name))
    except Exception:  # importing a user's module can raise anything
        return {}


def _kind_in_schemas(parts: list[str]) -> Kind:
    schemas: list[type] = [RunSpec]
    for number, part in enumerate(parts):
        for schema in schemas:
            annotation = annotations_of(schema).get(part)
            if annotation is not None:
                break
        else:
            return _ANYTHING
        schemas = sections_of(annotation)
        if not schemas:
            kind = kind_of(annotation)
            for inner in parts[number + 1 :]:
                kind = (value_kind(kind) if not inner.isdigit() else item_kind(kind)) or _ANYTHING
            return kind
    return kind_of(dict)  # a section


@cache
def annotations_of(schema: type) -> Mapping[str, Any]:  # Any: annotations have no type
    """The annotations of a dataclass's fields, resolved."""
    return typing.get_type_hints(schema)


@cache
def sections_of(annotation: Any) -> list[type]:  # Any: an annotation
    """The dataclasses in a section's annotation; none if it is not a section."""
    parts = [annotation, *typing.get_args(annotation)]
    found = [part for part in parts if isinstance(part, type) and is_dataclass(part)]
    return list(ALGORITHMS.values()) if AlgorithmSpec in found else found


def schema_of(annotation: Any, value: object) -> type | None:  # Any: an annotation
    """The schema of a section.

    Args:
        annotation: Annotation of the section's field.
        value: Value of the section; of several schemas, the one that has most of its keys is chosen.

    Returns:
        The dataclass, or None if the field is not a section.
    """
    schemas = sections_of(annotation)
    if not schemas or not isinstance(value, Mapping):
        return None
    if len(schemas) == 1:
        return schemas[0]
    return max(schemas, key=lambda schema: len(set(value) & set(annotations_of(schema))))


def unknown_options(config: Mapping[str, Any]) -> list[str]:  # Any: a configuration's values
    """Find keys that are in no schema.

    Args:
        config: Configuration in plain values; Hydra's own node is ignored.

    Returns:
        One message for each unknown key, with the closest known name. Arguments of named classes are not checked here but in
        `drpt.plugins.build_plugin`.
    """
    return [no_such_option(*found) for found in _unknown(config, {"hydra": Any, **annotations_of(RunSpec)}, "")]


def is_unknown_to_hydra(option: str) -> bool:
    """Whether an option is missing from Hydra's own schemas."""
    values: dict[str, Any] = {}
    put(values, option, None)
    return bool(list(_unknown(values, {"hydra": HydraConf}, "")))


def _unknown(section: Mapping[str, Any], known: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, list[str]]]:
    for key, value in section.items():
        if key not in known:
            yield f"{prefix}{key}", [name for name in known if name != "hydra"]
        elif isinstance(value, Mapping) and (schema := schema_of(known[key], value)):
            yield from _unknown(value, annotations_of(schema), f"{prefix}{key}.")


def no_such_option(option: str, siblings: list[str]) -> str:
    """The message about an option that does not exist.

    Args:
        option: Full name of the option, as typed.
        siblings: Known names in the option's section.

    Returns:
        A line with the section, the closest known name there or elsewhere, and all names of the section.
    """
    if (renamed := refusal(option)) is not None:
        return renamed
    parent, _, name = option.rpartition(".")
    where = f"In {parent} there is" if parent else "There is"
    hint = did_you_mean(name, siblings) or _elsewhere(option)
    return f"{where} no {name!r}.{hint} It has: {', '.join(siblings)}."


def _elsewhere(option: str) -> str:
    """A suggestion of an option in another section with the same or a similar name."""
    name = option.rpartition(".")[2]
    by_name: dict[str, str] = {}
    for other in all_options():
        by_name.setdefault(other.rpartition(".")[2], other)
    # Names of the same section are not like it: they were compared before, and what they have in common is the section.
    others = [other for other in all_options() if other.rpartition(".")[0] != option.rpartition(".")[0]]
    near = _NAMES_ELSEWHERE.get(name) or by_name.get(name) or next(iter(get_close_matches(option, others, n=1)), None)
    near = near or next((by_name[found] for found in get_close_matches(name, list(by_name), n=1)), None)
    return f" Did you mean {near!r}?" if near else ""


@cache
def all_options() -> list[str]:
    """Full names of all options of the schemas."""
    return list(_options(RunSpec, ""))


def _options(schema: type, prefix: str) -> Iterator[str]:
    for field in fields(schema):
        sections = sections_of(annotations_of(schema)[field.name])
        if not sections:
            yield f"{prefix}{field.name}"
        for section in sections:
            yield from _options(section, f"{prefix}{field.name}.")


def _look_up(config: Mapping[str, Any], path: str) -> object:
    node: object = config
    for part in path.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return node
