"""Assigns the examples of a step to micro-batches and processes."""

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSplit:
    """Division of a step's examples into micro-batches.

    If the update is computed over the whole step, target examples come first, so that later examples can be compared with
    them as they arrive. If each micro-batch or process computes its own update, each gets general and target examples.
    """

    num_micro_batches: int  # number of micro-batches per process
    is_mixed: bool  # whether each micro-batch gets general and target examples
    process: int = 0  # index of this process
    num_processes: int = 1

    def divide(self, *, num_general: int, num_target: int) -> list[list[int]]:
        """Divide the examples of a step into the micro-batches of this process.

        Args:
            num_general: Number of general examples, ``n``, with indices 0 to n − 1.
            num_target: Number of target examples, ``m``, with indices n to n + m − 1.

        Returns:
            Ascending indices of the examples in each micro-batch, none of which is empty.
        """
        count = self.num_micro_batches * self.num_processes
        general, target = list(range(num_general)), list(range(num_general, num_general + num_target))
        if self.is_mixed:
            cuts = [g + t for g, t in zip(_cut(general, count), _cut(target, count), strict=True)]
        else:
            cuts = [sorted(part) for part in _cut(target + general, count)]
        # Distributed in turn, so that each process starts with one of the first micro-batches of the step.
        return [part for part in cuts[self.process :: self.num_processes] if part]


def _cut(places: list[int], count: int) -> list[list[int]]:
    """Cut a list into ``count`` parts of nearly equal size, in order."""
    bounds = [round(i * len(places) / count) for i in range(count + 1)]
    return [places[start:stop] for start, stop in pairwise(bounds)]
