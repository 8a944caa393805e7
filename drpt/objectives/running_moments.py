"""Mean and spread of all numbers seen so far, added to batch by batch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class RunningMoments:
    """Count, mean and sum of squared distances from the mean.

    Source: the parallel update of Chan, Golub, LeVeque 1979, exact to rounding whatever the batches.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: Sequence[float]) -> None:
        """Take more numbers into account.

        Args:
            values: Any number of them, none included.
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
        """Over count − 1; 1 where there is no spread to speak of, so that it may be divided by."""
        std = math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else 0.0
        return std if std > 0 else 1.0
