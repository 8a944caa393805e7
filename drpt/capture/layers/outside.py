"""Layer rules that a configuration names by dotted paths (`trainer.layer_rules`), added to ours."""

from collections.abc import Mapping, Sequence

from torch import nn

from drpt.capture.layers.layer_rule import LayerRule
from drpt.capture.layers.rules import DEFAULT_RULES, LayerRules
from drpt.plugins import import_named


def rules_with(paths: Sequence[str]) -> LayerRules:
    """Our layer rules together with those of the user's.

    Args:
        paths: Dotted paths of mappings from a type of module, or its dotted path, to a `LayerRule`.

    Returns:
        The rules; ours alone where there is no path.

    Raises:
        ValueError: A path leads to no such mapping, or to a second rule for a type that has one.
    """
    rules = DEFAULT_RULES
    for path in paths:
        found = import_named("trainer.layer_rules", path)
        if not isinstance(found, Mapping) or not all(_is_entry(*entry) for entry in found.items()):
            raise ValueError(
                f"trainer.layer_rules={path}: not a mapping from types of module to instances of drpt.LayerRule, such as "
                "RULES = {ScaledLinear: ScaledLinearRule()}."
            )
        try:
            rules = rules.extended(found)
        except ValueError as error:
            raise ValueError(f"trainer.layer_rules={path}: {str(error).removeprefix('layer_rules: ')}") from error
    return rules


def _is_entry(kind: object, rule: object) -> bool:
    is_type = isinstance(kind, str) or (isinstance(kind, type) and issubclass(kind, nn.Module))
    return is_type and isinstance(rule, LayerRule)
