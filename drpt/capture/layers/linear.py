"""Linear layers and GPT-2's convolutions: weights by products of (x, o), biases by the examples' sums of o."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from drpt.capture.gradients import FactoredGradient, PerExampleGradient, UseGradient, accumulating
from drpt.capture.layers.captured_linear import CapturedLinear
from drpt.capture.layers.shared_values.by_rows import by_rows
from drpt.capture.layers.site import Forward, Site
from drpt.capture.tokens import TokenVectors


def linear_rule(module: nn.Module, forward: Forward, site: Site) -> Forward:
    """`nn.Linear`, by its own forward of torch."""
    return _module_forward(module, site, is_input_first=False)


def conv1d_rule(module: nn.Module, forward: Forward, site: Site) -> Forward:
    """GPT-2's ``Conv1D`` of transformers: a linear layer whose weight is [inputs, outputs]."""
    return _module_forward(module, site, is_input_first=True)


def _module_forward(module: nn.Module, site: Site, *, is_input_first: bool) -> Forward:
    parameters = sorted(site.trained)
    record = _recorder(site, "weight", "bias", is_input_first=is_input_first)

    def captured(x: Tensor) -> Tensor:
        # Looked up now: under FSDP the whole weight is there during the forward alone.
        weight, bias = (None if p is None else p.detach() for p in (module._parameters["weight"], module._parameters["bias"]))
        assert weight is not None
        return _product(x, weight.T if is_input_first else weight, bias, site, parameters, record)

    return by_rows(captured, site)


def weight_product(site: Site, name: str, weight: Tensor, *, is_input_first: bool) -> Callable[[Tensor], Tensor]:
    """The product with a weight that a module's own code uses: ``x Wᵀ``, or ``x W`` where inputs are its first axis.

    Args:
        site: The module's place.
        name: The weight's name within the module, such as ``weight``.
        weight: The matrix W, detached, perhaps cast to another dtype.
        is_input_first: Whether W is [inputs, outputs].

    Returns:
        A function of x [row, …, inputs] that returns [row, …, outputs].
    """
    record = _recorder(site, name, None, is_input_first=is_input_first)
    return by_rows(lambda x: _product(x, weight.T if is_input_first else weight, None, site, [name], record), site)


def _recorder(site: Site, weight: str, bias: str | None, *, is_input_first: bool) -> Callable[[Tensor, Tensor], None]:
    def record(x: Tensor, output_grad: Tensor) -> None:
        output_grads, segments = site.layout.flatten(output_grad)
        uses: dict[str, UseGradient] = {}
        if weight in site.trained:
            inputs, _ = site.recent.vectors(x, site.layout)
            outputs = TokenVectors(output_grads)
            left, right = (inputs, outputs) if is_input_first else (outputs, inputs)
            uses[weight] = FactoredGradient(left, right, segments, left.values.shape[1])
        if bias is not None and bias in site.trained:
            uses[bias] = PerExampleGradient(segments.sums(accumulating(output_grads)), segments)
        site.record(list(uses.items()))

    return record


def _product(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    site: Site,
    parameters: list[str],
    record: Callable[[Tensor, Tensor], None],
) -> Tensor:
    """``x Wᵀ + b`` with W [outputs, inputs]."""
    operands = [x, weight, bias]
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        operands = [None if t is None else t.to(dtype) for t in operands]
    output: Tensor = CapturedLinear.apply(*operands, site.anchor, record)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    site.announce(parameters, (output.numel() + x.numel()) * output.element_size())
    return output
