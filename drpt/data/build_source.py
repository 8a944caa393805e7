"""Builds the source that a ``source`` node of the configuration describes, without torch."""

from collections.abc import Mapping
from typing import Any, cast

from drpt.data.source import Source
from drpt.data.spec import COMBINED
from drpt.plugins import build_plugin

_ATTRIBUTES = ("is_endless", "has_responses")
_METHODS = ("general", "target", "evaluation", "is_correct")


def build_source(node: Mapping[str, Any], *, option: str = "data.source") -> Source:
    """Build a source.

    Args:
        node: Mapping with ``_target_``, the dotted path of a class, and the keyword arguments of this class.
        option: Full name of the node, for messages.

    Returns:
        The source.

    Raises:
        ValueError: The path does not name a source, a key is unknown, or a value breaks its rule.
    """
    option = "data" if node.get("_target_") == COMBINED else option  # the parts of a combined source name themselves
    source = build_plugin(option, node, methods=_METHODS, protocol="drpt.data.source.Source")
    # Checked on the instance, since attributes may depend on the keys.
    for name in _ATTRIBUTES:
        if not hasattr(source, name):
            raise ValueError(f"{option}._target_={node['_target_']}: lacks the attribute {name} of drpt.data.source.Source.")
    return cast(Source, source)
