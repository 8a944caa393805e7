"""What processes that hold different examples of one step tell each other, so that the choice is made over all of them."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.distributed as dist
from torch import Tensor

from drpt.capture.gradients import FactoredGradient
from drpt.capture.segments import Segments
from drpt.capture.tokens import TokenVectors


@runtime_checkable  # for the shape checker of the tests
class Collectives(Protocol):
    """Sums and collects over the processes of a step; every process asks the same things in the same order."""

    num_processes: int

    def add_up(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""

    def gather(self, uses: Sequence[FactoredGradient]) -> list[FactoredGradient]:
        """The uses of all processes, in their order."""


class SingleProcess:
    """One process: nothing to tell."""

    num_processes = 1

    def add_up(self, tensor: Tensor) -> Tensor:
        """See `Collectives.add_up`."""
        return tensor

    def gather(self, uses: Sequence[FactoredGradient]) -> list[FactoredGradient]:
        """See `Collectives.gather`."""
        return list(uses)


class AcrossProcesses:
    """All processes of a group of `torch.distributed`.

    Args:
        group: None for the default group.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self._group = group
        self.num_processes = dist.get_world_size(group)

    def add_up(self, tensor: Tensor) -> Tensor:
        """See `Collectives.add_up`."""
        if tensor.is_contiguous():
            dist.all_reduce(tensor, group=self._group)
            return tensor
        whole = tensor.contiguous()
        dist.all_reduce(whole, group=self._group)
        return tensor.copy_(whole)

    def gather(self, uses: Sequence[FactoredGradient]) -> list[FactoredGradient]:
        """See `Collectives.gather`."""
        return [everyone for use in uses for everyone in self._gather(use)]

    def _gather(self, use: FactoredGradient) -> list[FactoredGradient]:
        # Segments are small; a process may hold more tokens than another, or none.
        segments: list[Segments] = [use.segments] * self.num_processes
        dist.all_gather_object(segments, use.segments, group=self._group)
        most = max(found.num_tokens for found in segments)
        lefts, rights = (self._gather_padded(side.values, most) for side in (use.left, use.right))
        return [
            FactoredGradient(
                TokenVectors(left[: found.num_tokens]), TokenVectors(right[: found.num_tokens]), found, use.num_left
            )
            for left, right, found in zip(lefts, rights, segments, strict=True)
        ]

    def _gather_padded(self, values: Tensor, num_tokens: int) -> list[Tensor]:
        padded = values.new_zeros(num_tokens, *values.shape[1:])
        padded[: len(values)] = values
        gathered = [torch.empty_like(padded) for _ in range(self.num_processes)]
        dist.all_gather(gathered, padded, group=self._group)
        return gathered
