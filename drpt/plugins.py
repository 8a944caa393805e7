"""Classes that a configuration names by the dotted path ``_target_``: imported, looked at, and only then called."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from drpt.checks import did_you_mean
from drpt.kinds import Kind, check_kind, kinds_of_arguments


def build_plugin(option: str, node: Mapping[str, Any], *, methods: Sequence[str], protocol: str) -> Any:  # Any: a protocol's
    """Import the class at ``_target_`` and build it with the other keys.

    Args:
        option: Full name of the node, for messages.
        node: ``_target_``, the dotted path of a class, and its keyword arguments.
        methods: What the class must have; nothing is called before that is known.
        protocol: Dotted path of the protocol that tells more of them.

    Returns:
        The object.

    Raises:
        ValueError: The path leads to no such class, a key is not one of its or missing, or a value is of another kind than
            the class's annotation says or breaks its rules; what the class says of a key is given the key's full name.
    """
    if "_target_" not in node:
        raise ValueError(f"{option}._target_ is needed: the dotted path of a class like {protocol}.")
    path = str(node["_target_"])
    module, _, name = path.rpartition(".")
    try:
        cls = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{option}._target_={path}: cannot be imported ({error}).") from error
    # Not hasattr, to which every class has a __call__: the one that builds it.
    if not (isinstance(cls, type) and all(any(method in vars(base) for base in cls.__mro__) for method in methods)):
        raise ValueError(f"{option}._target_={path}: not a class with the methods {', '.join(methods)} of {protocol}.")
    keys = {key: value for key, value in node.items() if key != "_target_"}
    # A class without a constructor has object's, whose signature says (*args, **kwargs) and means none.
    own = signature(cls).parameters if "__init__" in {name for base in cls.__mro__[:-1] for name in vars(base)} else {}
    known = [key for key, parameter in own.items() if parameter.kind not in {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}]
    takes_any = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in own.values())
    for key in keys:
        if key not in known and not takes_any:
            choices = f"Choices: {', '.join(known)}" if known else "It takes none"
            raise ValueError(f"{option}.{key} is not known.{did_you_mean(key, known)} {choices}.")
    for key, parameter in own.items():
        if key in known and key not in keys and parameter.default is Parameter.empty:
            raise ValueError(f"{option}.{key} is needed: add +{option}.{key}=…")
    kinds = kinds_of_arguments(cls)
    for key, value in keys.items():
        check_kind(f"{option}.{key}", value, kinds.get(key, Kind()))
    try:
        return cls(**keys)
    except TypeError as error:  # a value of a kind that the annotations did not exclude
        raise ValueError(f"{option}: {error}.") from error
    except ValueError as error:
        raise ValueError(_with_full_name(str(error), option, known)) from error


def _with_full_name(message: str, option: str, keys: Sequence[str]) -> str:
    """A class knows its keys (``pattern='(' is …``), not where in the configuration it is used."""
    if message.startswith(f"{option}."):
        return message
    is_about_key = any(message.startswith(f"{key}{sign}") for key in keys for sign in "=.:[")
    return f"{option}.{message}" if is_about_key else f"{option}: {message}"
