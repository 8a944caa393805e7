"""Modules whose own code runs as it is, with stand-ins for their trained parameters.

Whatever a module computes of its parameters is followed: products with a weight matrix and look-ups in a table by the
factors (x, o) of its gradient, everything else by one copy of the parameter for each row (see
`drpt.capture.layers.shared_values.shared_tensor`).
Subclasses of linear layers and embeddings, norms of any making, gates, scales, class tokens and learned positions are
covered in this way.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from drpt.capture.errors import FREEZE, UnsupportedModuleError
from drpt.capture.gradients import PerExampleGradient, accumulating
from drpt.capture.layers.embedding import table_look_up
from drpt.capture.layers.layer_rule import FactoredForm, GradientForm, LayerRule, PerExampleForm
from drpt.capture.layers.linear import weight_product
from drpt.capture.layers.shared_values.followed_call import share
from drpt.capture.layers.shared_values.shared_tensor import Matrix, SharedTensor
from drpt.capture.layers.site import Forward, Site

_MOST_COPY_BYTES = 64 * 2**20  # of one parameter's copies


class CopiedParameter(torch.autograd.Function):
    """A parameter repeated along a new first axis, [copy, *shape]; the backward pass leaves a gradient for each copy."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        parameter: Tensor,
        num_copies: int,
        anchor: Tensor,
        record: Callable[[Tensor], None],
    ) -> Tensor:
        """Repeat without copying; the parameter is detached."""
        ctx.record = record  # type: ignore[attr-defined]  # a ctx takes any attribute; its stub does not say so
        return parameter.expand(num_copies, *parameter.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, output_grad: Tensor) -> tuple[None, None, None, None]:
        """Nothing flows on; the copies' gradients go to ``record``."""
        ctx.record(output_grad)  # type: ignore[attr-defined]  # a ctx's attributes
        return None, None, None, None


class OwnCodeRule(LayerRule):
    """Any module that uses its parameters through torch's functions: its own forward, with stand-ins for trained parameters."""

    name = "own code"
    parameters = None
    runs_own_forward = True

    def captured_forward(self, module: nn.Module, ordinary: Forward, site: Site) -> Forward:
        """See `LayerRule.captured_forward`."""

        def captured(*args: Any, **kwargs: Any) -> Any:  # Any: the module's own arguments
            with in_place_of(module, {name: stand_in(module, name, site) for name in sorted(site.trained)}):
                return ordinary(*args, **kwargs)

        return captured

    def gradient_form(self, module: nn.Module, parameter: str) -> GradientForm:
        """A module is taken to multiply its inputs by each of its matrices, or to look up rows of them if it is a table."""
        values = module.get_parameter(parameter)
        kind = _kind(module, parameter)
        is_matrix = parameter == "weight" if kind in {"linear", "embedding"} else kind == self.name and values.ndim == 2
        if not is_matrix:
            return PerExampleForm(values.numel())
        left, right = values.shape
        return FactoredForm(left, right, is_ids=isinstance(module, nn.Embedding))

    def label(self, module: nn.Module, parameter: str) -> str:
        """A module that runs its own code is called by what it is."""
        kind = _kind(module, parameter)
        return parameter if kind == "linear" and parameter != "weight" else kind


def _kind(module: nn.Module, parameter: str) -> str:
    if "." not in parameter:  # else it belongs to a container of parameters within the module
        if isinstance(module, nn.Linear):
            return "linear"
        if isinstance(module, nn.Embedding):
            return "embedding"
        if type(module).__name__.lower().endswith("norm"):
            return "norm"
    return OwnCodeRule.name


@contextmanager
def in_place_of(module: nn.Module, values: Mapping[str, Tensor]) -> Iterator[None]:
    """Let a module's code find other tensors where its parameters are.

    Args:
        module: The module.
        values: Tensors by the parameters' names within the module; ``scales.default`` is in a `ParameterDict` of the module's.

    Yields:
        Nothing; afterwards the parameters are found again.
    """
    places = []
    for name, value in values.items():
        path, _, own = name.rpartition(".")
        holder = module.get_submodule(path) if path else module
        holder.__dict__[own] = value  # an instance attribute hides the registered parameter without touching it
        places.append((holder, own))
    try:
        yield
    finally:
        for holder, own in places:
            del holder.__dict__[own]


def stand_in(module: nn.Module, name: str, site: Site) -> SharedTensor:
    """A trained parameter as a value that all rows share.

    Args:
        module: Its owner.
        name: Its name there.
        site: The owner's place.

    Returns:
        In the parameter's shape and with its values.
    """
    # Looked up now: under FSDP the whole parameter is there during the forward alone.
    parameter = module.get_parameter(name).detach()
    return share(parameter, lambda: _copies(parameter, name, site), site, _matrix(parameter, name, site))


def _copies(parameter: Tensor, name: str, site: Site) -> Tensor:
    layout = site.layout
    num_copies = layout.num_rows
    if layout.is_packed:
        assert layout.num_tokens is not None
        num_copies *= layout.num_tokens
    num_bytes = num_copies * parameter.numel() * parameter.element_size()
    kind = "tokens" if layout.is_packed else "rows"
    if parameter.ndim > 1 and num_bytes > _MOST_COPY_BYTES:
        raise UnsupportedModuleError(
            f"{site.name}.{name}: its module uses this matrix otherwise than in a product with its inputs, so that one copy "
            f"for each of {num_copies} {kind} would be needed, {num_bytes / 2**20:.0f} MiB. "
            f"{FREEZE}"
        )

    def record(grads: Tensor) -> None:
        if not layout.is_packed:
            site.record([(name, PerExampleGradient(accumulating(grads), layout.uniform(1)))])
            return
        per_token, segments = layout.flatten(grads.reshape(layout.num_rows, layout.num_tokens or 1, -1))
        sums = segments.sums(accumulating(per_token))
        site.record([(name, PerExampleGradient(sums.unflatten(1, parameter.shape), segments))])

    copies: Tensor = CopiedParameter.apply(parameter, num_copies, site.anchor, record)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    site.announce([name], layout.num_rows * parameter.numel() * parameter.element_size())
    return copies


def _matrix(parameter: Tensor, name: str, site: Site) -> Matrix | None:
    if parameter.ndim != 2:
        return None

    def product(x: Tensor, *, is_input_first: bool, dtype: torch.dtype) -> Any:
        return weight_product(site, name, parameter.to(dtype), is_input_first=is_input_first)(x)

    def look_up(token_ids: Tensor, *, padding_idx: int | None, dtype: torch.dtype) -> Any:
        return table_look_up(site, name, parameter.to(dtype), padding_idx=padding_idx)(token_ids)

    return Matrix(product, look_up)
