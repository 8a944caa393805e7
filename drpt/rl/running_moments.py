"""Mean and standard deviation of all numbers seen so far, updated batch by batch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_ROUNDING = 1e-12  # relative to the mean


@dataclass(slots=True)
class RunningMoments:
    """Count, mean and sum of squared distances from the mean.

    Source: the parallel update of Chan, Golub, LeVeque 1979, exact to rounding whatever the batches.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: Sequence[float]) -> None:
        """Add numbers.

        Args:
            values: Numbers to add; there may be none.
        """
        if not values:
            return
        mean = sum(values) / len(values)
        squares = sum((value - mean) ** 2 for value in values)
        total, distance = self.count + len(values), mean - self.mean
        self.squares += squares + distance**2 * self.count * len(values) / total
        self.mean += distance * len(values) / total
        self.count = total

    @property
    def std(self) -> float:
        """Standard deviation over count − 1; 1 where there is no spread but rounding, so that it may be divided by."""
        std = math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else 0.0
        # The mean of equal numbers is off by some roundings of float64, 2e-16 each.
        return std if std > _ROUNDING * abs(self.mean) else 1.0
