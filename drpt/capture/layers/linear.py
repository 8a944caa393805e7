"""Linear layers: weights by products of activations and output gradients, biases by each example's sum of output gradients."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from drpt.capture.gradients import FactoredGradient, PerExampleGradient, UseGradient, accumulating
from drpt.capture.layers.layer_rule import FactoredForm, GradientForm, LayerRule, PerExampleForm
from drpt.capture.layers.shared_values.by_rows import by_rows
from drpt.capture.layers.site import Forward, Site
from drpt.capture.step_size import StepSize
from drpt.capture.tokens import TokenVectors


class CapturedLinear(torch.autograd.Function):
    """``y = x Wᵀ + b`` whose backward hands (x, o) to ``record`` instead of forming the weight's gradient.

    ``anchor`` is any tensor that requires gradients: it keeps the node in the graph when ``x`` does not.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        anchor: Tensor,
        record: Callable[[Tensor, Tensor], None],
    ) -> Tensor:
        """``F.linear``; weight and bias are detached."""
        ctx.save_for_backward(x, weight)
        ctx.record = record  # type: ignore[attr-defined]  # a ctx takes any attribute; its stub does not say so
        # F.linear returns a view where x has more than two axes, and torch forbids changing a view that a custom function
        # returns. A model may change a linear layer's output in place.
        output = x.new_empty(*x.shape[:-1], len(weight))
        rows, flat = x.reshape(-1, x.shape[-1]), output.view(-1, len(weight))
        if bias is None:
            torch.mm(rows, weight.T, out=flat)
        else:
            torch.addmm(bias, rows, weight.T, out=flat)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, output_grad: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        """The gradient of x alone; (x, o) go to ``record``."""
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]  # a ctx's attributes
        input_grad = output_grad @ weight if ctx.needs_input_grad[0] else None  # type: ignore[attr-defined]  # a ctx's attributes
        ctx.record(x, output_grad)  # type: ignore[attr-defined]  # a ctx's attributes
        return input_grad, None, None, None, None


class LinearRule(LayerRule):
    """`nn.Linear`, by its own forward of torch: y = x Wᵀ + b.

    The gradient of W is the sum over tokens of ``o ⊗ x``, with activations x and output gradients o; that of b is the sum of o.
    """

    name = "linear"
    parameters = frozenset(("weight", "bias"))
    is_linear = True
    is_input_first: ClassVar[bool] = False  # whether the weight is [inputs, outputs]

    def captured_forward(self, module: nn.Module, ordinary: Forward, site: Site) -> Forward:
        """See `LayerRule.captured_forward`."""
        is_input_first, parameters = self.is_input_first, sorted(site.trained)
        record = _recorder(site, "weight", "bias", is_input_first=is_input_first)

        def captured(x: Tensor) -> Tensor:
            # Looked up now: under FSDP the whole weight is there during the forward alone.
            weight, bias = (
                None if p is None else p.detach() for p in (module._parameters["weight"], module._parameters["bias"])
            )
            assert weight is not None
            return _product(x, weight.T if is_input_first else weight, bias, site, parameters, record)

        return by_rows(captured, site)

    def gradient_form(self, module: nn.Module, parameter: str) -> GradientForm:
        """See `LayerRule.gradient_form`."""
        values = module.get_parameter(parameter)
        return FactoredForm(*values.shape) if parameter == "weight" else PerExampleForm(values.numel())

    def announced_bytes(self, module: nn.Module, trained: Sequence[str], size: StepSize) -> Mapping[str, int]:
        """Weight and bias are announced together, and counted with the weight where both are trained."""
        around = FactoredForm(*module.get_parameter("weight").shape).announced_bytes(size)
        return {name: around if name == max(trained) else 0 for name in trained}

    def label(self, module: nn.Module, parameter: str) -> str:
        """A bias is no matrix, and called a bias."""
        return self.name if parameter == "weight" else parameter


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
