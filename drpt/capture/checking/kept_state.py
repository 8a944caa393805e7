"""What a module's forward pass depended on, kept so that it can be run again as it was: its input and its buffers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

Buffers: TypeAlias = list[tuple[nn.Module, str, Tensor]]


def buffers_of(module: nn.Module) -> Buffers:
    """Copies of the buffers of a module and of the modules within it."""
    return [
        (part, name, buffer.clone())
        for part in module.modules()
        for name, buffer in part._buffers.items()
        if buffer is not None
    ]


@contextmanager
def buffers_again(module: nn.Module, before: Buffers) -> Iterator[None]:
    """Buffers as they were before the forward pass; what a reference changes in them is forgotten."""
    now = [(part._buffers, name, part._buffers[name]) for part, name, _ in before]
    for part, name, buffer in before:
        part._buffers[name] = buffer.clone()
    try:
        yield
    finally:
        for buffers, name, own in now:
            buffers[name] = own


class SavedInput(torch.autograd.Function):
    """Holds a module's input as autograd holds tensors: under gradient checkpointing it is made again when asked for.

    It lies beside the model's graph, so that gradients add up in the same order, to the last bit, as without a check.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, anchor: Tensor) -> Tensor:
        """A scalar that nothing uses."""
        ctx.save_for_backward(x)
        return x.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, output_grad: Tensor) -> tuple[None, None]:
        """Never reached."""
        return None, None
