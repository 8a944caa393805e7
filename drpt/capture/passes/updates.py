"""Forming the update in ``.grad`` once coefficients are known."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.gradients import FactoredGradient, UseGradient
from drpt.capture.passes.step_plan import StepPlan


def add_update(plan: StepPlan, name: str, uses: Sequence[UseGradient], coefficients: Sequence[float]) -> None:
    """Add ``Σ_i c_i g_i`` to a parameter's ``.grad``, in place where that is allowed.

    Args:
        plan: Of the capture.
        name: Of the parameter.
        uses: Some of its uses in the step.
        coefficients: ``c`` of all the step's examples.
    """
    if not plan.leaves_update:
        return
    parameter = plan.parameter(name)
    gradient = parameter.grad
    if isinstance(parameter, DTensor):
        _add_to_shard(plan, parameter, uses, coefficients)
        return
    if plan.is_sharded:  # FSDP2 averages what processes leave here
        coefficients = [coefficient * plan.updates.num_processes for coefficient in coefficients]
    elif plan.updates.num_processes > 1:
        gradient = None
    for use in uses:
        own = [coefficients[example] for example in use.segments.examples]
        if isinstance(use, FactoredGradient) and use.place is not None:
            gradient = torch.zeros_like(parameter) if gradient is None else gradient
            _add_to_place(gradient[use.place], use, own)
        elif gradient is None:
            gradient = use.update(own, None).to(parameter.dtype)
        elif use.dtype == gradient.dtype:
            gradient = use.update(own, gradient)
        else:
            gradient.add_(use.update(own, None))
    assert gradient is not None
    gradient = gradient.view_as(parameter)
    if plan.updates.num_processes > 1 and not plan.is_sharded:
        gradient = plan.updates.add_up(gradient)
        gradient = gradient if parameter.grad is None else parameter.grad.add_(gradient)
    parameter.grad = gradient


def _add_to_place(gradient: Tensor, use: FactoredGradient, coefficients: Sequence[float]) -> None:
    if use.dtype == gradient.dtype:
        use.update(coefficients, gradient)
    else:
        gradient.add_(use.update(coefficients, None))


def _add_to_shard(plan: StepPlan, parameter: nn.Parameter, uses: Sequence[UseGradient], coefficients: Sequence[float]) -> None:
    """Of a layer that FSDP2 has put away, since the last batch did not pass through it: nothing else reduces its gradient."""
    assert isinstance(parameter, DTensor)
    if any(isinstance(use, FactoredGradient) and use.place is not None for use in uses):
        raise UnsupportedModuleError("experts of a model sharded by FSDP2 must be reached by each step's last batch.")
    own = [[coefficients[example] for example in use.segments.examples] for use in uses]
    parts = [use.update(of_use, None) for use, of_use in zip(uses, own, strict=True)]
    whole = plan.updates.add_up(torch.stack(parts).sum(dim=0).to(parameter.dtype).view(parameter.shape))
    shard = distribute_tensor(whole, parameter.device_mesh, parameter.placements)
    parameter.grad = shard if parameter.grad is None else parameter.grad.add_(shard)


def backward_of_mean(plan: StepPlan, losses: Float[Tensor, " example"], weights: Float[Tensor, " example"]) -> None:
    """Add the gradient of one weighted loss to the ``.grad`` of all trained parameters, over all processes.

    Args:
        plan: Of the capture.
        losses: Of a batch's examples.
        weights: Of the same.
    """
    parameters = [plan.parameter(name) for name in plan.owners]
    is_summed_here = plan.updates.num_processes > 1 and not plan.is_sharded
    if plan.is_sharded:
        weights = weights * plan.updates.num_processes
    before = [parameter.grad for parameter in parameters]
    if is_summed_here:
        for parameter in parameters:
            parameter.grad = None
    (weights.to(losses) * losses).sum().backward()
    if is_summed_here:
        for parameter, earlier in zip(parameters, before, strict=True):
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            gradient = plan.updates.add_up(gradient)
            parameter.grad = gradient if earlier is None else earlier.add_(gradient)
