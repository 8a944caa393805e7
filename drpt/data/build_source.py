"""From the ``data.source`` node of a configuration to the source it names; no torch."""

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any, cast

from drpt.checks import did_you_mean
from drpt.data.source import Source

_METHODS = ("general", "target", "evaluation", "is_correct")


def build_source(node: Mapping[str, Any]) -> Source:
    """Import the class at ``_target_`` and build it with the other keys.

    Nothing is called before it is known to be a class with a source's methods.

    Args:
        node: ``_target_``, the dotted path of a class, and its keyword arguments.

    Returns:
        The source.

    Raises:
        ValueError: The path leads to no source, a key is not one of its, or a value breaks its rules.
    """
    path = str(node.get("_target_"))
    module, _, name = path.rpartition(".")
    try:
        source_class = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"data.source._target_={path}: cannot be imported ({error}).") from error
    if not (isinstance(source_class, type) and all(hasattr(source_class, method) for method in _METHODS)):
        raise ValueError(
            f"data.source._target_={path}: not a class with the methods {', '.join(_METHODS)} of drpt.data.source.Source."
        )
    keys = {key: value for key, value in node.items() if key != "_target_"}
    known = list(signature(source_class).parameters)
    for key in keys:
        if key not in known:
            raise ValueError(f"data.source.{key} is not known.{did_you_mean(key, known)} Choices: {', '.join(known)}.")
    try:
        return cast(Source, source_class(**keys))
    except TypeError as error:  # a key that is needed and missing, or a value of the wrong kind
        raise ValueError(f"data.source: {error}.") from error
