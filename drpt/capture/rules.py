"""Which modules can be captured, and the forward that replaces theirs during a step.

A rule takes the module, its own forward and a `Site` (where uses are recorded) and returns the forward to run instead. The
outputs are the same; only the way in which the module's own parameters get their gradients differs.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drpt.capture.embedding import CapturedEmbedding, EmbeddingUse
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.linear import CapturedLinear, LinearUse
from drpt.capture.rowwise import ExpandedParameter, RowwiseUse
from drpt.capture.use import Use

Forward: TypeAlias = Callable[..., Tensor]


@runtime_checkable  # for the shape checker of the tests
class Site(Protocol):
    """One module's place in the capture."""

    name: str  # qualified name of the module
    trained: frozenset[str]  # names of its own parameters that are trained: "weight", "bias"
    num_rows: int  # leading axis of every activation
    anchor: Tensor  # requires gradients; keeps nodes in the graph whose inputs do not

    def announce(self, parameters: Sequence[str]) -> None:
        """A use of these parameters has been put into the graph; its record will follow in the backward pass."""

    def record(self, uses: Sequence[tuple[str, Use]]) -> None:
        """The backward pass has reached the use."""


Rule: TypeAlias = Callable[[nn.Module, Forward, Site], Forward]


def check_rows(x: Tensor, site: Site) -> None:
    """Refuse activations whose first axis is not the batch's rows.

    Args:
        x: The module's input.
        site: The module's place.

    Raises:
        UnsupportedModuleError: Rows have been merged or dropped before this module.
    """
    if x.ndim < 2 or x.shape[0] != site.num_rows:
        raise UnsupportedModuleError(
            f"{site.name}: input of shape {tuple(x.shape)}, but the step has {site.num_rows} rows. Its examples were merged "
            "or dropped before this layer (a mixture of experts does this), so that its gradients cannot be told apart. "
            "Freeze this layer, or train others through finetune=lora finetune.target_modules=[…]."
        )


def linear_rule(module: nn.Module, forward: Forward, site: Site) -> Forward:
    """`nn.Linear`: weight by products of (x, o), bias by its rows."""
    assert isinstance(module, nn.Linear)
    weight, bias = module.weight, module.bias
    parameters = sorted(site.trained)

    def record(x: Tensor, output_grad: Tensor) -> None:
        x, output_grad = (t.reshape(site.num_rows, -1, t.shape[-1]) for t in (x, output_grad))
        uses: dict[str, Use] = {}
        if "weight" in site.trained:
            uses["weight"] = LinearUse(x, output_grad)
        if "bias" in site.trained:
            uses["bias"] = RowwiseUse(output_grad.sum(dim=1))
        site.record(list(uses.items()))

    def captured(x: Tensor) -> Tensor:
        check_rows(x, site)
        site.announce(parameters)
        operands = [x, weight.detach(), None if bias is None else bias.detach()]
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            operands = [None if t is None else t.to(dtype) for t in operands]
        output: Tensor = CapturedLinear.apply(*operands, site.anchor, record)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return output

    return captured


def embedding_rule(module: nn.Module, forward: Forward, site: Site) -> Forward:
    """`nn.Embedding`: gathered and scattered, never dense for each row.

    Args:
        module: The table.
        forward: Its own forward; not used.
        site: Its place.

    Returns:
        The forward to run instead.

    Raises:
        UnsupportedModuleError: The table renormalises or rescales its own gradient.
    """
    assert isinstance(module, nn.Embedding)
    for option, value in (("max_norm", module.max_norm), ("scale_grad_by_freq", module.scale_grad_by_freq or None)):
        if value is not None:
            raise UnsupportedModuleError(f"{site.name}: an embedding with {option}={value} has no rule; turn it off.")

    def record(token_ids: Tensor, output_grad: Tensor) -> None:
        token_ids = token_ids.reshape(site.num_rows, -1)
        output_grad = output_grad.reshape(*token_ids.shape, -1)
        if module.padding_idx is not None:
            output_grad = output_grad.masked_fill((token_ids == module.padding_idx).unsqueeze(-1), 0.0)
        site.record([("weight", EmbeddingUse(token_ids, output_grad, module.num_embeddings))])

    def captured(token_ids: Tensor) -> Tensor:
        check_rows(token_ids, site)
        site.announce(["weight"])
        output: Tensor = CapturedEmbedding.apply(token_ids, module.weight.detach(), site.anchor, record)  # type: ignore[no-untyped-call]
        return output

    return captured


def _expand_parameters(module: nn.Module, x: Tensor, site: Site) -> dict[str, Tensor]:
    check_rows(x, site)
    site.announce(sorted(site.trained))
    expanded: dict[str, Tensor] = {}
    for name in site.trained:
        parameter = module.get_parameter(name)

        def record(output_grad: Tensor, name: str = name, shape: torch.Size = parameter.shape) -> None:
            site.record([(name, RowwiseUse(output_grad.reshape(site.num_rows, *shape)))])

        expanded[name] = ExpandedParameter.apply(parameter.detach(), site.num_rows, x.ndim, site.anchor, record)  # type: ignore[no-untyped-call]
    return expanded


def elementwise_rule(module: nn.Module, forward: Forward, site: Site) -> Forward:
    """A module whose own one-axis parameters act on the last axis by broadcasting, such as the RMSNorms of transformers.

    Its own code runs with each parameter repeated for every row, so ``w x``, ``(1 + w) x`` and the like are all exact.

    Args:
        module: The norm.
        forward: Its own forward.
        site: Its place.

    Returns:
        The forward to run instead.
    """

    def captured(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # Any: the module's own further arguments
        expanded = _expand_parameters(module, x, site)
        # An instance attribute hides the registered parameter without touching it.
        module.__dict__.update(expanded)
        try:
            return forward(x, *args, **kwargs)
        finally:
            for name in expanded:
                del module.__dict__[name]

    return captured


def normalization_rule(module: nn.Module, forward: Forward, site: Site) -> Forward:
    """`nn.LayerNorm` and `nn.RMSNorm`, whose fused kernels take no per-row scales: normalise first, then scale and shift."""
    assert isinstance(module, nn.LayerNorm | nn.RMSNorm)
    shape = list(module.normalized_shape)

    def captured(x: Tensor) -> Tensor:
        own: dict[str, Tensor | None] = {
            name: None if (p := getattr(module, name, None)) is None else p.detach() for name in ("weight", "bias")
        }
        own.update(_expand_parameters(module, x, site))
        y = F.layer_norm(x, shape, eps=module.eps) if isinstance(module, nn.LayerNorm) else F.rms_norm(x, shape, eps=module.eps)
        y = y if own["weight"] is None else y * own["weight"]
        return y if own["bias"] is None else y + own["bias"]

    return captured


def find_rule(module: nn.Module) -> Rule | None:
    """The rule for a module's own parameters, or None.

    A subclass counts as its base when it has not changed the forward.

    Args:
        module: A module that owns trained parameters.

    Returns:
        The rule, if there is one.
    """
    # Read from the class: an instance's forward may be wrapped already.
    forward = type(module).forward
    own = dict(module.named_parameters(recurse=False))
    rules: dict[Any, tuple[Rule, set[str]]] = {
        nn.Linear.forward: (linear_rule, {"weight", "bias"}),
        nn.Embedding.forward: (embedding_rule, {"weight"}),
        nn.LayerNorm.forward: (normalization_rule, {"weight", "bias"}),
        nn.RMSNorm.forward: (normalization_rule, {"weight"}),
    }
    if forward in rules:
        rule, names = rules[forward]
        # Weight norm and the like make the weight of other parameters before each forward: no plain layer.
        is_plain = own.keys() <= names and not hasattr(module, "parametrizations")
        return rule if is_plain else None
    is_norm = type(module).__name__.endswith("RMSNorm") and not list(module.children())
    return elementwise_rule if is_norm and all(parameter.ndim == 1 for parameter in own.values()) else None
