"""Which modules can be captured, and the forward that replaces theirs during a step.

A rule takes the module, its own forward and a `Site` (where uses are recorded) and returns the forward to run instead. The
outputs are the same; only the way in which the module's own parameters get their gradients differs.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drpt.capture.embedding import CapturedEmbedding
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.linear import CapturedLinear
from drpt.capture.rowwise import ExpandedParameter
from drpt.capture.segments import Layout
from drpt.capture.tokens import RecentTokens, TokenVectors
from drpt.capture.use import OuterUse, RowwiseUse, Use, accumulating

Forward: TypeAlias = Callable[..., Tensor]


@runtime_checkable  # for the shape checker of the tests
class Site(Protocol):
    """One module's place in the capture."""

    name: str  # qualified name of the module
    trained: frozenset[str]  # names of its own parameters that are trained: "weight", "bias"
    recent: RecentTokens  # knows activations that several modules share
    anchor: Tensor  # requires gradients; keeps nodes in the graph whose inputs do not

    @property
    def layout(self) -> Layout:
        """Where the examples are in the activations of now."""

    def announce(self, parameters: Sequence[str], num_bytes: int) -> None:
        """A use of these parameters has been put into the graph; its record will follow in the backward pass.

        Args:
            parameters: Names within the module.
            num_bytes: What the use would keep alive: activations and output gradients.
        """

    def record(self, uses: Sequence[tuple[str, Use]]) -> None:
        """The backward pass has reached the use."""


Rule: TypeAlias = Callable[[nn.Module, Forward, Site], Forward]


def check_rows(x: Tensor, site: Site) -> None:
    """Refuse activations in which the examples can no longer be found.

    Args:
        x: The module's input.
        site: The module's place.

    Raises:
        UnsupportedModuleError: Rows, or in a packed batch tokens, have been merged, moved or dropped before this module.
    """
    layout = site.layout
    if x.ndim < 2 or x.shape[0] != layout.num_rows:
        raise UnsupportedModuleError(
            f"{site.name}: input of shape {tuple(x.shape)}, but the batch has {layout.num_rows} rows. Its examples were merged "
            "or dropped before this layer (a mixture of experts does this), so that its gradients cannot be told apart. "
            "Freeze this layer, or train others through finetune=lora finetune.target_modules=[…]."
        )
    if layout.is_packed and axis_of_tokens(x, site) != 1:
        raise UnsupportedModuleError(_no_axis_of_tokens(x, site))


def axis_of_tokens(x: Tensor, site: Site) -> int:
    """Which axis of the activations of a packed batch counts tokens: 1, or 2 where heads come before them.

    Args:
        x: Activations, [row, token, …] or [row, head, token, …].
        site: The module's place.

    Returns:
        The axis.

    Raises:
        UnsupportedModuleError: None has the batch's number of tokens, or two have.
    """
    found = [axis for axis in range(1, x.ndim - int(x.is_floating_point())) if x.shape[axis] == site.layout.num_tokens]
    if len(found) != 1:
        raise UnsupportedModuleError(_no_axis_of_tokens(x, site))
    return found[0]


def _no_axis_of_tokens(x: Tensor, site: Site) -> str:
    return (
        f"{site.name}: input of shape {tuple(x.shape)}, but rows are packed with {site.layout.num_tokens} tokens, and one axis "
        "alone, the first after the rows but for norms, must tell them apart. Train with one example a row "
        "(data.packing=false), or freeze this layer."
    )


def linear_rule(module: nn.Module, forward: Forward, site: Site) -> Forward:
    """`nn.Linear`: weight by products of (x, o), bias by its examples' sums."""
    assert isinstance(module, nn.Linear)
    return _matrix_forward(module, site, is_input_first=False)


def conv1d_rule(module: nn.Module, forward: Forward, site: Site) -> Forward:
    """GPT-2's ``Conv1D`` of transformers: a linear layer whose weight is [inputs, outputs]."""
    return _matrix_forward(module, site, is_input_first=True)


def _matrix_forward(module: nn.Module, site: Site, *, is_input_first: bool) -> Forward:
    parameters = sorted(site.trained)

    def record(x: Tensor, output_grad: Tensor) -> None:
        output_grads, segments = site.layout.flatten(output_grad)
        uses: dict[str, Use] = {}
        if "weight" in site.trained:
            inputs, _ = site.recent.vectors(x, site.layout)
            outputs = TokenVectors(output_grads)
            left, right = (inputs, outputs) if is_input_first else (outputs, inputs)
            uses["weight"] = OuterUse(left, right, segments, left.values.shape[1])
        if "bias" in site.trained:
            uses["bias"] = RowwiseUse(segments.sums(accumulating(output_grads)), segments)
        site.record(list(uses.items()))

    def captured(x: Tensor) -> Tensor:
        check_rows(x, site)
        # Looked up now: under FSDP the whole weight is there during the forward alone.
        weight, bias = (None if p is None else p.detach() for p in (module._parameters["weight"], module._parameters["bias"]))
        assert weight is not None
        operands = [x, weight.T if is_input_first else weight, bias]
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            operands = [None if t is None else t.to(dtype) for t in operands]
        output: Tensor = CapturedLinear.apply(*operands, site.anchor, record)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        site.announce(parameters, (output.numel() + x.numel()) * output.element_size())
        return output

    return captured


def embedding_rule(module: nn.Module, forward: Forward, site: Site) -> Forward:
    """`nn.Embedding`: gathered and scattered, never dense for each example.

    Ids that all rows share (positions, [1, token] or [token]) are repeated for every row; what is added to them has rows.

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
        ids, segments = site.layout.flatten(token_ids)
        output_grads, _ = site.layout.flatten(output_grad)
        if module.padding_idx is not None:
            output_grads = output_grads.masked_fill((ids == module.padding_idx).unsqueeze(-1), 0.0)
        use = OuterUse(TokenVectors(ids), TokenVectors(output_grads), segments, module.num_embeddings)
        site.record([("weight", use)])

    def captured(token_ids: Tensor) -> Tensor:
        token_ids = _for_every_row(token_ids, site)
        check_rows(token_ids, site)
        weight = module.weight.detach()
        output: Tensor = CapturedEmbedding.apply(token_ids, weight, site.anchor, record)  # type: ignore[no-untyped-call]
        site.announce(["weight"], output.numel() * output.element_size())
        return output

    return captured


def _for_every_row(token_ids: Tensor, site: Site) -> Tensor:
    num_rows = site.layout.num_rows
    if token_ids.ndim == 1:
        if len(token_ids) == num_rows:
            raise UnsupportedModuleError(
                f"{site.name}: {num_rows} ids in one vector, for a batch of {num_rows} rows: one id a row, or one a token "
                "that all rows share? Give the ids an axis of rows, [row, token]."
            )
        token_ids = token_ids[None]
    if token_ids.ndim >= 2 and token_ids.shape[0] == 1:
        return token_ids.expand(num_rows, *token_ids.shape[1:])
    return token_ids


def scaled_embedding_rule(module: nn.Module, forward: Forward, site: Site) -> Forward:
    """The tables of Gemma (a buffer) and BART (a float) in transformers: ``W[ids]`` times a fixed number."""
    look_up = embedding_rule(module, forward, site)
    scale: Any = module.embed_scale  # a buffer or a number
    weight = module.get_parameter("weight")

    def captured(token_ids: Tensor) -> Tensor:
        return look_up(token_ids) * (scale.to(weight.dtype) if isinstance(scale, Tensor) else scale)

    return captured


def _expand_parameters(module: nn.Module, x: Tensor, site: Site) -> dict[str, Tensor]:
    """Each trained parameter of the module, repeated for every row, or in a packed batch for every token."""
    layout = site.layout
    kept = [0, axis_of_tokens(x, site)] if layout.is_packed else [0]
    if not layout.is_packed:
        check_rows(x, site)
    leading = tuple(x.shape[axis] for axis in kept)
    expanded: dict[str, Tensor] = {}
    for name in sorted(site.trained):
        parameter = module.get_parameter(name)

        def record(output_grad: Tensor, name: str = name, shape: torch.Size = parameter.shape) -> None:
            grads = output_grad.reshape(*leading, *shape)
            if len(leading) == 1:
                site.record([(name, RowwiseUse(accumulating(grads), layout.uniform(1)))])
                return
            per_token, segments = layout.flatten(grads.flatten(2))
            sums = segments.sums(accumulating(per_token))
            site.record([(name, RowwiseUse(sums.unflatten(1, shape), segments))])

        expanded[name] = ExpandedParameter.apply(parameter.detach(), _repeats(x, kept, parameter), site.anchor, record)  # type: ignore[no-untyped-call]
        site.announce([name], layout.num_rows * parameter.numel() * parameter.element_size())
    return expanded


def _repeats(x: Tensor, kept: Sequence[int], parameter: Tensor) -> tuple[int, ...]:
    """How often the parameter stands along each axis of ``x`` before its own: once where no rows or tokens are told apart."""
    return tuple(size if axis in kept else 1 for axis, size in enumerate(x.shape[: x.ndim - parameter.ndim]))


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


RULE_NAMES: dict[Rule, str] = {
    linear_rule: "linear",
    conv1d_rule: "conv1d",
    embedding_rule: "embedding",
    scaled_embedding_rule: "embedding",
    elementwise_rule: "norm",
    normalization_rule: "norm",
}


def is_linear(module: nn.Module) -> bool:
    """Whether the module's weight is that of a linear layer."""
    return find_rule(module) in {linear_rule, conv1d_rule}


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
    conv1d = getattr(sys.modules.get("transformers.pytorch_utils"), "Conv1D", None)
    if conv1d is not None:
        rules[conv1d.forward] = (conv1d_rule, {"weight", "bias"})
    if forward in rules:
        rule, names = rules[forward]
        # Weight norm and the like make the weight of other parameters before each forward: no plain layer.
        is_plain = own.keys() <= names and not hasattr(module, "parametrizations")
        return rule if is_plain else None
    if isinstance(module, nn.Embedding) and type(module).__name__.endswith("ScaledWordEmbedding"):
        return scaled_embedding_rule
    is_norm = type(module).__name__.endswith("RMSNorm") and not list(module.children())
    return elementwise_rule if is_norm and all(parameter.ndim == 1 for parameter in own.values()) else None
