"""Turns a configuration in plain values into the checked dataclasses of a run, and reports all faults at once."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any

from drpt.app.options import annotations_of, schema_of, unknown_options
from drpt.kinds import check_kind, kind_of
from drpt.renamed import value_refusal
from drpt.tasks.errors import ConfigError, NotForTaskError
from drpt.tasks.rules import check_run
from drpt.tasks.run_spec import RunSpec

_UNSET = "???"  # OmegaConf's mark of a value that must be given


def build_spec(values: Mapping[str, Any]) -> RunSpec:  # Any: a configuration's values
    """Check every value and every rule.

    Args:
        values: Configuration in plain values, interpolations resolved; it may contain Hydra's own node.

    Returns:
        The run's specification.

    Raises:
        NotForTaskError: The task cannot use one of the choices.
        ConfigError: A key is unknown, or a value is missing, has the wrong type or breaks a rule; one line for each fault.
            Rules between sections are checked once every section is valid.
    """
    faults = [*unknown_options(values)]
    sections: dict[str, object] = {}
    for name in annotations_of(RunSpec):
        if name in values:
            try:
                sections[name] = _section(name, annotations_of(RunSpec)[name], values[name])
            except ConfigError as error:
                faults.append(str(error))
    faults += [f"{option} is needed: add {option}=…" for option in sorted(_missing(values, RunSpec, ""))]
    if not faults:
        try:
            return check_run(RunSpec(**sections))  # type: ignore[arg-type]  # each is what its annotation says
        except NotForTaskError:
            raise
        except ValueError as error:
            faults.append(str(error))
    raise ConfigError("\n".join(dict.fromkeys(faults)))


def _section(option: str, annotation: Any, value: Any) -> object:
    schema = schema_of(annotation, value)
    if schema is None or not isinstance(value, Mapping):
        return _leaf(option, annotation, value)
    parts: dict[str, object] = {}
    faults: list[str] = []
    is_complete = True
    for field in fields(schema):
        name = field.name
        if name not in value or _is_unset(value[name]):
            is_complete = is_complete and _has_default(field) and name not in value
            continue
        try:
            parts[name] = _section(f"{option}.{name}", annotations_of(schema)[name], value[name])
        except ConfigError as error:
            faults.append(str(error))
    if is_complete and not faults:
        try:
            return schema(**parts)
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))
    return None  # missing sections are reported elsewhere, by name


def _leaf(option: str, annotation: Any, value: Any) -> Any:
    if _is_unset(value):
        return value
    try:
        check_kind(option, value, kind_of(annotation))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if (renamed := value_refusal(option, value)) is not None:
        raise ConfigError(renamed)
    return value


def _missing(values: Mapping[str, Any], schema: type | None, prefix: str) -> Iterator[str]:
    """Full names of values that must still be given, and of required keys that were removed."""
    if schema is not None:
        for field in fields(schema):
            if field.name not in values and not _has_default(field):
                yield f"{prefix}{field.name}"
    hints = {} if schema is None else annotations_of(schema)
    for key, value in values.items():
        if schema is RunSpec and key not in hints:  # such as Hydra's own node
            continue
        if _is_unset(value):
            yield f"{prefix}{key}"
        elif isinstance(value, Mapping):
            yield from _missing(value, schema_of(hints.get(key), value), f"{prefix}{key}.")


def _is_unset(value: object) -> bool:
    return isinstance(value, str) and value == _UNSET


def _has_default(field: Any) -> bool:  # Any: dataclasses.Field of any type
    return field.default is not MISSING or field.default_factory is not MISSING
