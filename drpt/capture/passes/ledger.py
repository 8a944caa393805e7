"""The ledger of a step: uses of parameters announced by forward passes and reached by backward passes, and products computed.

A parameter is measured when all its uses are reached, a block when all its parameters are.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.gradients import UseGradient
from drpt.capture.partition import Block


@dataclass(slots=True)
class BlockEntry:
    """What is known of one block."""

    outstanding: int = 0  # uses announced and not yet reached
    sums: tuple[Tensor, ...] | None = None  # products, summed over the parameters measured so far
    uses: dict[str, list[UseGradient]] = field(default_factory=dict)  # by parameter: not yet measured, or kept for the update
    measured: set[str] = field(default_factory=set)  # parameters whose products are in the sums
    is_measured: bool = False  # all parameters are
    coefficients: list[float] | None = None  # one an example of the step, once chosen


class Ledger:
    """Counts uses of parameters, and keeps what is known of each block.

    Args:
        blocks: All blocks of the partition, the regularized ones first.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.entries: defaultdict[int, BlockEntry] = defaultdict(BlockEntry)
        self.announced_bytes = 0  # what all announced uses would keep alive
        self._block_names = tuple(block.name for block in blocks)
        self._block_of = {name: index for index, block in enumerate(blocks) for name in block.parameters}
        self._outstanding: Counter[str] = Counter()  # uses of each parameter, announced and not yet reached

    def block_of(self, parameter: str) -> int:
        """Index of the block that a parameter belongs to."""
        return self._block_of[parameter]

    def announce(self, parameters: Sequence[str], num_bytes: int) -> None:
        """Count a use that was put into the graph.

        Args:
            parameters: Qualified names of the parameters that are used.
            num_bytes: Bytes of activations and output gradients that the use would keep alive.
        """
        self.announced_bytes += num_bytes
        for name in parameters:
            self._outstanding[name] += 1
            self.entries[self._block_of[name]].outstanding += 1

    def reach(self, parameter: str) -> None:
        """Count a use that the backward pass has reached.

        Args:
            parameter: Qualified name of the parameter.

        Raises:
            UnsupportedModuleError: More uses were reached than announced.
        """
        if self._outstanding[parameter] < 1:
            raise UnsupportedModuleError(
                f"{parameter} was used again after its block {self._block_names[self._block_of[parameter]]!r} was complete: "
                "each micro-batch takes one forward and one backward pass; reentrant gradient checkpointing is not covered "
                "(use_reentrant=False is)."
            )
        self._outstanding[parameter] -= 1
        self.entries[self._block_of[parameter]].outstanding -= 1

    def is_reached(self, parameter: str) -> bool:
        """Whether no announced use of a parameter is outstanding."""
        return self._outstanding[parameter] == 0

    def require_use(self) -> None:
        """Refuse a step in which the model was not called.

        Raises:
            UnsupportedModuleError: No use was announced.
        """
        if not self._outstanding:
            raise UnsupportedModuleError(
                "no trained parameter was used within this step: call the model between opening the step and step.backward. "
                "Adapters that are merged or disabled are not used, and reentrant gradient checkpointing hides what is "
                "(use_reentrant=False does not)."
            )

    def drop_unreached(self) -> None:
        """Forget the uses that were announced and not reached, since the loss does not depend on them."""
        for name in [name for name, count in self._outstanding.items() if count > 0]:
            self.entries[self._block_of[name]].outstanding -= self._outstanding[name]
            self._outstanding[name] = 0

    def unmeasured(self) -> list[str]:
        """Parameters whose kept uses are all reached and whose products are not yet computed."""
        return [
            name
            for entry in self.entries.values()
            for name in entry.uses
            if self._outstanding[name] == 0 and name not in entry.measured
        ]

    def add_products(self, parameter: str, products: tuple[Tensor, ...]) -> BlockEntry:
        """Add a parameter's products to its block's sums.

        Args:
            parameter: Qualified name of the parameter.
            products: See `drpt.capture.products.computer.ProductComputer`.

        Returns:
            The block's entry.
        """
        entry = self.entries[self._block_of[parameter]]
        known = entry.sums
        entry.sums = products if known is None else tuple(a + b for a, b in zip(known, products, strict=True))
        entry.measured.add(parameter)
        return entry
