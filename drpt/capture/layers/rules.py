"""Which rule runs a module that owns trained parameters."""

import sys
from typing import Any

import torch
from torch import nn

from drpt.capture.layers.embedding import embedding_rule
from drpt.capture.layers.experts import experts_rule, is_experts
from drpt.capture.layers.linear import conv1d_rule, linear_rule
from drpt.capture.layers.norm import normalization_rule
from drpt.capture.layers.own_code import own_code_rule
from drpt.capture.layers.site import Rule

RULE_NAMES: dict[Rule, str] = {
    linear_rule: "linear",
    conv1d_rule: "conv1d",
    embedding_rule: "embedding",
    normalization_rule: "norm",
    experts_rule: "experts",
    own_code_rule: "own code",
}
# Their code cannot be followed, or their fused kernels mix rows or take their weights as a list.
_WITHOUT_RULE = (
    torch.jit.ScriptModule,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
    nn.modules.batchnorm._NormBase,
    nn.EmbeddingBag,
)


def is_linear(module: nn.Module) -> bool:
    """Whether the module's weight is that of a linear layer."""
    return isinstance(module, nn.Linear) or find_rule(module) is conv1d_rule


def find_rule(module: nn.Module) -> Rule | None:
    """The rule for a module's own parameters, or None.

    torch's own layers take the quickest way; a subclass counts as its base where it has not changed the forward. Everything
    else runs its own code. That the rule computes what the module does is proved when the capture first meets the model
    (`drpt.capture.checking.check`).

    Args:
        module: A module that owns trained parameters.

    Returns:
        The rule, if there is one.
    """
    # Weight norm and the like make the weight of other parameters before each forward.
    if isinstance(module, _WITHOUT_RULE) or hasattr(module, "parametrizations") or _is_parametrization(module):
        return None
    # Read from the class: an instance's forward may be wrapped already.
    forward = type(module).forward
    own = {name for name, _ in module.named_parameters(recurse=False)}
    rules: dict[Any, tuple[Rule, set[str]]] = {
        nn.Linear.forward: (linear_rule, {"weight", "bias"}),
        nn.Embedding.forward: (embedding_rule, {"weight"}),
        nn.LayerNorm.forward: (normalization_rule, {"weight", "bias"}),
        nn.RMSNorm.forward: (normalization_rule, {"weight"}),
    }
    conv1d = getattr(sys.modules.get("transformers.pytorch_utils"), "Conv1D", None)
    if conv1d is not None:
        rules[conv1d.forward] = (conv1d_rule, {"weight", "bias"})
    if forward in rules:
        rule, names = rules[forward]
        return rule if own <= names else None
    if is_experts(module):
        return experts_rule
    return own_code_rule


def _is_parametrization(module: nn.Module) -> bool:
    return isinstance(module, nn.utils.parametrize.ParametrizationList)
