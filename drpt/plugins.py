"""Building objects that a configuration names by a dotted path: the class is imported and checked before it is called."""

import traceback
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from drpt.checks import did_you_mean
from drpt.kinds import Kind, check_kind, kinds_of_arguments


def import_named(option: str, path: str) -> Any:  # Any: whatever has that name
    """Import what a dotted path names.

    Args:
        option: Full name of the option that holds the path, for messages.
        path: Dotted path, such as ``my_sets.MeanRay``.

    Returns:
        The class, or whatever else has that name in the module.

    Raises:
        ValueError: There is no such module, or no such name in it, or the module raises an error while it is imported; the
            message tells the file and line of the error.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        hint = f"; add the folder that holds {top}.py to PYTHONPATH" if error.name == top and top.isidentifier() else ""
        raise ValueError(f"{option}={path}: cannot be imported ({error}{hint}).") from error
    except Exception as error:  # whatever a module of the user's does when it is imported
        frame = traceback.extract_tb(error.__traceback__)[-1]
        is_own = frame.filename != __file__ and "importlib" not in frame.filename
        place = f", in {Path(frame.filename).name}, line {frame.lineno}" if is_own else ""
        kind = "" if isinstance(error, ImportError | AttributeError | ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{option}={path}: cannot be imported ({kind}{error}{place}).") from error


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
    cls = import_named(f"{option}._target_", path)
    require_methods(f"{option}._target_={path}", cls, methods=methods, protocol=protocol)
    keys = {key: value for key, value in node.items() if key != "_target_"}
    known = check_arguments(option, cls, keys)
    try:
        return cls(**keys)
    except TypeError as error:  # a value of a kind that the annotations did not exclude
        raise ValueError(f"{option}: {error}.") from error
    except ValueError as error:
        raise ValueError(with_full_name(str(error), option, known)) from error


def require_methods(option: str, cls: object, *, methods: Sequence[str], protocol: str) -> None:
    """Require a class with some methods; nothing is called.

    Args:
        option: The option and its value, for messages.
        cls: What the option's path names.
        methods: Names that the class must define.
        protocol: Dotted path of the protocol that tells more of them.

    Raises:
        ValueError: It is no class, or lacks a method.
    """
    # Not hasattr, to which every class has a __call__: the one that builds it.
    if not (isinstance(cls, type) and all(any(method in vars(base) for base in cls.__mro__) for method in methods)):
        raise ValueError(f"{option}: not a class with the methods {', '.join(methods)} of {protocol}.")


def check_arguments(option: str, cls: type, keys: Mapping[str, Any], *, given: Collection[str] = ()) -> list[str]:
    """Check the keyword arguments that a configuration gives to a class.

    Args:
        option: Full name of the node that holds the arguments, for messages.
        cls: The class.
        keys: Arguments by name.
        given: Names of the arguments that drpt itself gives.

    Returns:
        Names of the arguments that a configuration may give.

    Raises:
        ValueError: The class takes no such argument, needs one that is not there, or a value is of another kind than the
            class's annotation says; or the class does not take what drpt gives.
    """
    # A class without a constructor has object's, whose signature says (*args, **kwargs) and means none.
    own = signature(cls).parameters if "__init__" in {name for base in cls.__mro__[:-1] for name in vars(base)} else {}
    named = [key for key, parameter in own.items() if parameter.kind not in {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}]
    takes_any = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in own.values())
    if not takes_any and (missing := [key for key in given if key not in named]):
        raise ValueError(f"{cls.__module__}.{cls.__qualname__} must take the argument {missing[0]}, which drpt gives it.")
    known = [key for key in named if key not in given]
    for key in keys:
        if key in given:
            raise ValueError(f"{option}.{key} is given by drpt itself; leave it out.")
        if key not in known and not takes_any:
            choices = f"Choices: {', '.join(known)}" if known else "It takes none"
            raise ValueError(f"{option}.{key} is not known.{did_you_mean(key, known)} {choices}.")
    for key, parameter in own.items():
        if key in known and key not in keys and parameter.default is Parameter.empty:
            raise ValueError(f"{option}.{key} is needed: add +{option}.{key}=…")
    kinds = kinds_of_arguments(cls)
    for key, value in keys.items():
        check_kind(f"{option}.{key}", value, kinds.get(key, Kind()))
    return known


def with_full_name(message: str, option: str, keys: Sequence[str]) -> str:
    """A class's message with the full name of the option: it knows its keys, not where the configuration names it.

    Args:
        message: Message of the class, such as ``pattern='(' is no pattern``.
        option: Full name of the node that holds the keys.
        keys: Names of the class's arguments.

    Returns:
        The message, with ``option`` before it.
    """
    if message.startswith(f"{option}."):
        return message
    is_about_key = any(message.startswith(f"{key}{sign}") for key in keys for sign in "=.:[")
    return f"{option}.{message}" if is_about_key else f"{option}: {message}"
