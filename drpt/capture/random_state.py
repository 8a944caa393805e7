"""Random numbers as they were at an earlier moment."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor

RandomState: TypeAlias = tuple[Tensor, tuple[torch.device, Tensor] | None]  # of the CPU, and of one GPU


def random_state(x: Tensor | None) -> RandomState:
    """What the CPU's and, where ``x`` is on one, the GPU's random numbers depend on now."""
    on_gpu = None if x is None or x.device.type != "cuda" else (x.device, torch.cuda.get_rng_state(x.device))
    return torch.get_rng_state(), on_gpu


@contextmanager
def random_again(state: RandomState) -> Iterator[None]:
    """Random numbers as they were; afterwards they go on from where they are now.

    Args:
        state: Random state, as `random_state` returns it.

    Yields:
        Nothing.
    """
    on_cpu, on_gpu = state
    with torch.random.fork_rng(devices=[] if on_gpu is None else [on_gpu[0]]):
        torch.set_rng_state(on_cpu)
        if on_gpu is not None:
            torch.cuda.set_rng_state(on_gpu[1], on_gpu[0])
        yield
