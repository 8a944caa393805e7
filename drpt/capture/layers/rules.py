"""Which rule runs a module that owns trained parameters."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import nn

from drpt.capture.layers.conv1d import Conv1dRule
from drpt.capture.layers.embedding import EmbeddingRule
from drpt.capture.layers.experts import ExpertsRule
from drpt.capture.layers.layer_rule import LayerRule
from drpt.capture.layers.linear import LinearRule
from drpt.capture.layers.norm import NormRule, RmsNormRule
from drpt.capture.layers.own_code import OwnCodeRule

ModuleType: TypeAlias = type[nn.Module] | str  # a class, or its dotted path where importing it would cost too much
# Modules whose code cannot be followed, or whose fused kernels mix rows or take their weights as a list.
_NOT_FOLLOWED = (
    torch.jit.ScriptModule,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
    nn.modules.batchnorm._NormBase,
    nn.EmbeddingBag,
)
_EXPERTS, _OWN_CODE = ExpertsRule(), OwnCodeRule()


class LayerRules:
    """A rule for each type of module; any other module runs its own code, where that can be followed.

    A subclass counts as its base where it has not changed the forward. That a rule computes what the module does is proved when
    the capture first meets the model (`drpt.capture.checking`).

    Args:
        by_type: Rules by type of module.
    """

    def __init__(self, by_type: Mapping[ModuleType, LayerRule]) -> None:
        self._by_type = MappingProxyType(dict(by_type))

    def extended(self, by_type: Mapping[ModuleType, LayerRule]) -> "LayerRules":
        """These rules and others.

        Args:
            by_type: Further rules by type of module.

        Returns:
            New rules; these stay as they are.

        Raises:
            ValueError: A type has a rule already.
            TypeError: A value is no rule.
        """
        known = {_dotted_path(kind): rule for kind, rule in self._by_type.items()}
        for kind, rule in by_type.items():
            path = _dotted_path(kind)
            if path in known:
                raise ValueError(
                    f"layer_rules: {path} has a rule already, {type(known[path]).__name__}. Give a subclass of the module a "
                    "rule of its own, or make LayerRules of a mapping without the other entry."
                )
            if not isinstance(rule, LayerRule):
                raise TypeError(f"layer_rules: the entry of {path} is {rule!r}, and no drpt.LayerRule.")
        return LayerRules({**self._by_type, **by_type})

    def find(self, module: nn.Module) -> LayerRule | None:
        """The rule for a module's own parameters.

        Args:
            module: A module that owns trained parameters.

        Returns:
            The rule; None where there is none, or where the module owns other parameters than its rule knows.
        """
        # Weight norm and the like make the weight of other parameters before each forward.
        if hasattr(module, "parametrizations") or isinstance(module, nn.utils.parametrize.ParametrizationList):
            return None
        for base in type(module).__mro__:
            rule = self._by_type.get(base) or self._by_type.get(_dotted_path(base))
            if rule is not None:
                # Read from the class: an instance's forward may be wrapped already.
                if type(module).forward is not getattr(base, "forward", None):
                    break
                return rule if self._owns_no_others(module, rule) else None
        if isinstance(module, _NOT_FOLLOWED):
            return None
        return _EXPERTS if _EXPERTS.recognizes(module) else _OWN_CODE

    def is_linear(self, module: nn.Module) -> bool:
        """Whether the module's ``weight`` is that of a linear layer."""
        rule = self.find(module)
        return isinstance(module, nn.Linear) or (rule is not None and rule.is_linear)

    @staticmethod
    def _owns_no_others(module: nn.Module, rule: LayerRule) -> bool:
        own = {name for name, _ in module.named_parameters(recurse=False)}
        return rule.parameters is None or own <= rule.parameters


def rule_of_site(rules: LayerRules, module: nn.Module, own: Sequence[str]) -> LayerRule | None:
    """The rule for a module with the parameters that it uses.

    Args:
        rules: The rules to choose from.
        module: A module that owns trained parameters.
        own: Names within it of these parameters; ``scales.default`` is in a container of parameters.

    Returns:
        The rule; the module's own code runs where it keeps parameters in containers.
    """
    rule = rules.find(module)
    return _OWN_CODE if rule is not None and any("." in name for name in own) else rule


def _dotted_path(kind: ModuleType | type) -> str:
    return kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"


DEFAULT_RULES = LayerRules(
    {
        nn.Linear: LinearRule(),
        "transformers.pytorch_utils.Conv1D": Conv1dRule(),
        nn.Embedding: EmbeddingRule(),
        nn.LayerNorm: NormRule(),
        nn.RMSNorm: RmsNormRule(),
    }
)
