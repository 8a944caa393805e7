"""The interface of a feasible set."""

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from drpt.geometry.entry import SetEntry
from drpt.geometry.products import Coefficients, GeneralRows, Products


class FeasibleSet(ABC):
    """A set of update directions built from the general examples' gradients; ``project`` finds the one for a target."""

    entry: ClassVar[SetEntry | None] = None  # what help, tables, the probe and the rules for values say of a set from outside
    takes_score: bool = False  # whether `project` ranks examples by a score
    uses_general: bool = True  # False promises c = 0, so that a step may leave the general rows out
    uses_target: bool = True  # False promises a = 0
    needs_products: bool = False  # whether `project` depends on alignments
    needs_gramian: bool = False  # whether `project` depends on the gramian too

    def most_kept(self, num_general: int) -> int:
        """The largest number of general examples that `project` gives a coefficient other than zero.

        Args:
            num_general: Number n of general examples.

        Returns:
            n, unless the set says otherwise; the step then skips the rows of all other examples.
        """
        return num_general

    @abstractmethod
    def project(
        self,
        rows: GeneralRows,
        products: Products | None,
        scores: Float[Tensor, "block general"] | None,
        num_blocks: int,
    ) -> Coefficients:
        """Coefficients of the update in each block.

        Args:
            rows: The general examples: base weights and ids.
            products: Inner products; given where `needs_products` is true, with the gramian where `needs_gramian` is.
            scores: Score of each example in each block, larger is better; None for a set that takes no score.
            num_blocks: Number of blocks to return coefficients for.

        Returns:
            ``c`` [block, general] and ``a`` [block].
        """
