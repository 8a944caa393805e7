"""The examples of one step: general examples first, then target examples."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.geometry.products import Coefficients, GeneralRows


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRows:
    """A step's general and target examples, over all its micro-batches and processes."""

    general: GeneralRows
    num_target: int  # m

    def to(self, device: torch.device) -> "StepRows":
        """The same examples, with their tensors on a device."""
        return StepRows(general=self.general.to(device), num_target=self.num_target)

    @property
    def num_general(self) -> int:
        """``n``."""
        return len(self.general.example_ids)

    @property
    def num_examples(self) -> int:
        """``n + m``."""
        return self.num_general + self.num_target

    def ordinary_coefficients(self, num_blocks: int) -> Coefficients:
        """Coefficients of unregularized parameters: the general mean, or the target gradient where no example is general.

        Args:
            num_blocks: Number of blocks.

        Returns:
            Coefficients, the same in every row [block].
        """
        weights = self.general.weights(num_blocks)
        is_target = 0.0 if self.num_general else 1.0
        return Coefficients(general=weights, target=weights.new_full((num_blocks,), is_target))

    def coefficients_of_examples(self, coefficients: Coefficients) -> Float[Tensor, "block example"]:
        """What each example's gradient is multiplied by: ``c`` for general examples, ``a/m`` for target examples.

        Args:
            coefficients: Coefficients of some blocks.

        Returns:
            Factors [block, example].
        """
        general = coefficients.general
        out = general.new_empty(len(general), self.num_examples)
        out[:, : self.num_general] = general
        out[:, self.num_general :] = (coefficients.target / max(self.num_target, 1))[:, None]
        return out
