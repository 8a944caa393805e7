"""AdamW with a warm-up and a learning-rate schedule, for all tasks."""

import logging
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from drpt.optim.spec import OptimizerSpec

_log = logging.getLogger(__name__)


def build_adamw(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], spec: OptimizerSpec, *, num_steps: int
) -> tuple[AdamW, LambdaLR]:
    """Build AdamW and its learning-rate schedule; the caller steps both once per optimizer step.

    Args:
        parameters: Trained parameters, or parameter groups with the settings in which they differ from ``spec``.
        spec: The `optimizer` config group.
        num_steps: Optimizer steps of the whole run.

    Returns:
        AdamW, and the schedule, whose factor multiplies each group's learning rate.
    """
    assert spec.betas is not None
    assert spec.eps is not None
    assert spec.weight_decay is not None
    beta1, beta2 = spec.betas
    optimizer = AdamW(parameters, lr=spec.lr, betas=(beta1, beta2), eps=spec.eps, weight_decay=spec.weight_decay)
    for group in optimizer.param_groups:
        _warn_of_lost_decay(group)
    return optimizer, build_schedule(optimizer, spec, num_steps=num_steps)


def build_schedule(optimizer: Optimizer, spec: OptimizerSpec, *, num_steps: int) -> LambdaLR:
    """The course of an optimizer's learning rate, to be stepped once an optimizer step.

    Args:
        optimizer: Any optimizer whose groups have a key ``lr``.
        spec: The `optimizer` config group.
        num_steps: Optimizer steps of the whole run.

    Returns:
        The schedule, whose factor multiplies each group's own rate.
    """
    num_warmup = math.ceil(spec.warmup_share * num_steps)
    return LambdaLR(optimizer, lambda step: lr_factor(step, num_warmup, num_steps, spec.schedule))


def lr_factor(step: int, num_warmup: int, num_steps: int, schedule: str) -> float:
    """Learning rate at a step, as a share of the highest one.

    During the warm-up the rate rises as ``(step + 1) / (num_warmup + 1)``, so that no step has rate 0. Afterwards it stays
    constant, or falls linearly or as half a cosine; it reaches 0 only after the last step.

    Args:
        step: Index of the optimizer step, from 0.
        num_warmup: Number of warm-up steps.
        num_steps: Optimizer steps of the whole run.
        schedule: Name of the course after the warm-up, from `drpt.optim.spec.SCHEDULES`.

    Returns:
        A number in (0, 1] for every step of the run.
    """
    if step < num_warmup:
        return (step + 1) / (num_warmup + 1)
    if schedule == "constant":
        return 1.0
    progress = min(1.0, (step - num_warmup) / max(1, num_steps - num_warmup))
    return 1.0 - progress if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))


def _warn_of_lost_decay(group: dict[str, Any]) -> None:
    """Warn if rounding turns the factor ``1 − lr · weight_decay``, by which a step multiplies the weights, into 1."""
    decay = group["lr"] * group["weight_decay"]
    coarsest = max((torch.finfo(parameter.dtype).eps for parameter in group["params"]), default=0.0)
    if 0 < decay < coarsest / 4:
        _log.warning(
            "optimizer.weight_decay=%g has no effect: at a learning rate of %g a step removes a share of %.2g of a weight, "
            "which is lost to rounding in the weights' precision. Raise it, or set it to 0.",
            group["weight_decay"],
            group["lr"],
            decay,
        )
