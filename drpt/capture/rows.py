"""The rows of one step's batch: general examples first, then target examples."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from drpt.geometry.products import Coefficients, GeneralRows


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRows:
    """Which rows of the batch are general and which are target examples."""

    general: GeneralRows
    num_target: int  # m

    @property
    def num_general(self) -> int:
        """``n``."""
        return len(self.general.example_ids)

    @property
    def num_rows(self) -> int:
        """``B = n + m``, the leading axis of every activation."""
        return self.num_general + self.num_target

    def coefficients_of_rows(self, coefficients: Coefficients, block: int) -> Float[Tensor, " batch"]:
        """What each row's gradient is multiplied by in one block: ``c`` for general rows, ``a/m`` for target rows.

        Args:
            coefficients: Of some blocks.
            block: Index within ``coefficients``.

        Returns:
            One number a row [batch].
        """
        general = coefficients.general[block]
        row = general.new_empty(self.num_rows)
        row[: self.num_general] = general
        row[self.num_general :] = coefficients.target[block] / max(self.num_target, 1)
        return row
