"""Which examples of a step go into which micro-batch of which process."""

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSplit:
    """A step's examples in ``micro_batches`` batches a process.

    Where the choice is made over the whole step, target examples go into the first batches: what is compared with them can
    then be measured as it comes. Where each batch or process chooses for itself, each has its share of both kinds.
    """

    micro_batches: int
    is_mixed: bool  # each batch has general and target examples alike
    process: int = 0
    num_processes: int = 1

    def parts(self, *, num_general: int, num_target: int) -> list[list[int]]:
        """The examples of this process's batches, as ascending places in the step; no batch is empty.

        Args:
            num_general: n; places 0 to n − 1.
            num_target: m; places n to n + m − 1.

        Returns:
            One list a batch.
        """
        count = self.micro_batches * self.num_processes
        general, target = list(range(num_general)), list(range(num_general, num_general + num_target))
        if self.is_mixed:
            cuts = [g + t for g, t in zip(_cut(general, count), _cut(target, count), strict=True)]
        else:
            cuts = [sorted(part) for part in _cut(target + general, count)]
        # Round by round, so that the first batch of every process is among the first of the step.
        return [part for part in cuts[self.process :: self.num_processes] if part]


def _cut(places: list[int], count: int) -> list[list[int]]:
    """Into ``count`` parts of nearly equal size, in order."""
    bounds = [round(i * len(places) / count) for i in range(count + 1)]
    return [places[start:stop] for start, stop in pairwise(bounds)]
