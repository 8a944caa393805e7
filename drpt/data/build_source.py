"""From a ``source`` node of a configuration to the source it names; no torch."""

from collections.abc import Mapping
from typing import Any, cast

from drpt.data.source import Source
from drpt.data.spec import COMBINED
from drpt.plugins import build_plugin

_ATTRIBUTES = ("is_endless", "has_responses")
_METHODS = ("general", "target", "evaluation", "is_correct")


def build_source(node: Mapping[str, Any], *, option: str = "data.source") -> Source:
    """Build the source.

    Args:
        node: ``_target_``, the dotted path of a class, and its keyword arguments.
        option: Full name of the node, for messages.

    Returns:
        The source.

    Raises:
        ValueError: The path leads to no source, a key is not one of its, or a value breaks its rules.
    """
    option = "data" if node.get("_target_") == COMBINED else option  # whose parts have names of their own
    source = build_plugin(option, node, methods=_METHODS, protocol="drpt.data.source.Source")
    # Of an instance: a source may learn from its keys what it is.
    for name in _ATTRIBUTES:
        if not hasattr(source, name):
            raise ValueError(f"{option}._target_={node['_target_']}: lacks the attribute {name} of drpt.data.source.Source.")
    return cast(Source, source)
