"""A regularizer: a projection, and how a capture carries it out in a model."""

from dataclasses import dataclass, fields, replace
from typing import Any

from drpt.capture.options import BaseWeights, CaptureOptions, Partition
from drpt.geometry.projection import Projection


@dataclass(frozen=True, kw_only=True)
class Regularizer(Projection):
    """Everything that decides a step's update: the projection in each block, and what the blocks are."""

    options: CaptureOptions
    base_weights: BaseWeights  # how the training loop weights the general examples of a step

    @classmethod
    def of(cls, projection: Projection, *, options: CaptureOptions, base_weights: BaseWeights) -> "Regularizer":
        """Make a regularizer of a projection.

        Args:
            projection: The map from products to coefficients in every block.
            options: How the capture carries it out.
            base_weights: How the training loop weights the general examples of a step.

        Returns:
            The regularizer.
        """
        own = {field.name: getattr(projection, field.name) for field in fields(Projection)}
        return cls(**own, options=options, base_weights=base_weights)

    def with_options(self, **changes: Any) -> "Regularizer":  # Any: options have values of several kinds
        """The same regularizer with other options for the capture.

        Args:
            changes: Fields of `CaptureOptions` with their new values.

        Returns:
            A new regularizer; what an automatic strength remembers is shared with this one.
        """
        return replace(self, options=replace(self.options, **changes))

    @property
    def is_constant(self) -> bool:
        """Whether one weighted loss gives the update: coefficients known before the step and the same in all blocks."""
        differs_by_block = self.feasible_set.takes_score and self.options.partition is not Partition.GLOBAL
        return not self.is_projecting or not (self.needs_products or differs_by_block)
