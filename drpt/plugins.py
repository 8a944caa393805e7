"""Building objects from configuration nodes that name a class by its dotted path ``_target_``.

The class is imported and its methods and arguments are checked before it is called.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from drpt.checks import did_you_mean
from drpt.kinds import Kind, check_kind, kinds_of_arguments


def build_plugin(option: str, node: Mapping[str, Any], *, methods: Sequence[str], protocol: str) -> Any:  # Any: a protocol's
    """Import the class at ``_target_`` and call it with the node's other keys.

    Args:
        option: Full name of the node, for error messages.
        node: Mapping of ``_target_``, the dotted path of a class, and the class's keyword arguments.
        methods: Names of the methods that the class must have.
        protocol: Dotted path of the protocol that documents these methods, for error messages.

    Returns:
        The object.

    Raises:
        ValueError: The path does not lead to a suitable class; a key is unknown or missing; or a value contradicts the
            argument's annotation or a rule of the class. Messages of the class about a key get the key's full name.
    """
    if "_target_" not in node:
        raise ValueError(f"{option}._target_ is needed: the dotted path of a class like {protocol}.")
    path = str(node["_target_"])
    module, _, name = path.rpartition(".")
    try:
        cls = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{option}._target_={path}: cannot be imported ({error}).") from error
    # Not hasattr: every class has a __call__ by its metaclass.
    if not (isinstance(cls, type) and all(any(method in vars(base) for base in cls.__mro__) for method in methods)):
        raise ValueError(f"{option}._target_={path}: not a class with the methods {', '.join(methods)} of {protocol}.")
    keys = {key: value for key, value in node.items() if key != "_target_"}
    # A class without a constructor inherits object's, whose signature is (*args, **kwargs) although it takes no arguments.
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
    except TypeError as error:  # a type that the annotations did not exclude
        raise ValueError(f"{option}: {error}.") from error
    except ValueError as error:
        raise ValueError(_with_full_name(str(error), option, known)) from error


def _with_full_name(message: str, option: str, keys: Sequence[str]) -> str:
    """Prefix a class's message about one of its keys (``pattern='(' is …``) with the node that the class does not know."""
    if message.startswith(f"{option}."):
        return message
    is_about_key = any(message.startswith(f"{key}{sign}") for key in keys for sign in "=.:[")
    return f"{option}.{message}" if is_about_key else f"{option}: {message}"
