"""From the ``data.source`` node of a configuration to the source it names; no torch."""

from collections.abc import Mapping
from typing import Any, cast

from drpt.data.source import Source
from drpt.plugins import build_plugin

_METHODS = ("general", "target", "evaluation", "is_correct")


def build_source(node: Mapping[str, Any]) -> Source:
    """Build the source.

    Args:
        node: ``_target_``, the dotted path of a class, and its keyword arguments.

    Returns:
        The source.

    Raises:
        ValueError: The path leads to no source, a key is not one of its, or a value breaks its rules.
    """
    return cast(Source, build_plugin("data.source", node, methods=_METHODS, protocol="drpt.data.source.Source"))
