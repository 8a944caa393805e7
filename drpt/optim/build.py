"""From the `optimizer` config group to an optimizer: AdamW, or a class from outside the package.

Training modules call `build_optimizer`; `check_optimizer` is called when a command is checked, before a model is loaded.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from drpt.optim.adamw import build_adamw, build_schedule
from drpt.optim.spec import OptimizerSpec
from drpt.plugins import check_arguments, import_named, with_full_name

_GIVEN = ("params", "lr")


def build_optimizer(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], spec: OptimizerSpec, *, num_steps: int
) -> tuple[Optimizer, LambdaLR]:
    """The optimizer and its schedule, to be stepped once an optimizer step.

    Args:
        parameters: Trained parameters, or groups of them with what differs from ``spec``.
        spec: The `optimizer` config group.
        num_steps: Optimizer steps of the whole run.

    Returns:
        The optimizer, and the schedule whose factor multiplies ``spec.lr`` or a group's own rate.

    Raises:
        ValueError: ``spec.name`` leads to no optimizer, or its class does not take the arguments.
    """
    if spec.is_adamw:
        return build_adamw(parameters, spec, num_steps=num_steps)
    optimizer = _build_own(parameters, spec)
    return optimizer, build_schedule(optimizer, spec, num_steps=num_steps)


def check_optimizer(spec: OptimizerSpec) -> None:
    """See that an optimizer from outside the package can be built and takes a step, on a parameter of two numbers.

    Args:
        spec: The `optimizer` config group.

    Raises:
        ValueError: ``spec.name`` leads to no optimizer, its class does not take the arguments, or its step fails.
    """
    if spec.is_adamw:
        return
    weight = nn.Parameter(torch.ones(2))
    optimizer = _build_own([weight], spec)
    weight.grad = torch.ones(2)
    try:
        optimizer.step()
    except Exception as error:  # whatever a class of the user's raises
        raise ValueError(
            f"optimizer.name={spec.name}: its step failed on a parameter of two numbers ({type(error).__name__}: {error}). "
            "A step finds the update in .grad, and gets no closure that computes the loss again."
        ) from error


def _build_own(parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], spec: OptimizerSpec) -> Optimizer:
    cls = import_named("optimizer.name", spec.name)
    if not (isinstance(cls, type) and issubclass(cls, Optimizer)):
        raise ValueError(f"optimizer.name={spec.name}: not a subclass of torch.optim.Optimizer.")
    known = check_arguments("optimizer.arguments", cls, spec.arguments, given=_GIVEN)
    factory: Any = cls  # Any: its constructor is its own
    try:
        built: Optimizer = factory(parameters, lr=spec.lr, **spec.arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(with_full_name(f"{error}", "optimizer.arguments", known)) from error
    return built
