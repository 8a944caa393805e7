"""Choosing the coefficients of blocks, and what can be applied of the choice at once."""

from collections.abc import Iterable, Sequence

from jaxtyping import Float
from torch import Tensor

from drpt.capture.passes.report import BlockGroup
from drpt.capture.passes.request import StepRequest
from drpt.geometry.products import Coefficients, NonFiniteProductsError, Products


class Chooser:
    """Asks the regularizer for coefficients and remembers them for the step's report.

    Args:
        request: What the step was opened with.
    """

    def __init__(self, request: StepRequest) -> None:
        self.groups: list[BlockGroup] = []
        self._request = request

    def choose(self, products: Products | None, blocks: Sequence[int]) -> Coefficients:
        """Coefficients of some blocks, chosen by the regularizer.

        Args:
            products: Products of these blocks; None where the choice depends on no gradient.
            blocks: Indices of the blocks.

        Returns:
            Coefficients, a row a block.

        Raises:
            NonFiniteProductsError: A product or a score is NaN or infinite; names the blocks.
        """
        plan, general = self._request.plan, self._request.rows.general
        with self._request.trace.span("solve"):
            try:
                chosen = plan.regularizer.coefficients(general, products, blocks)
            except NonFiniteProductsError as error:  # which knows blocks by number
                names = ", ".join(plan.blocks[index].name for index in error.blocks) or "a score"
                raise NonFiniteProductsError(
                    f"step {general.step_index}, in {names}: {error}", blocks=error.blocks, example_ids=error.example_ids
                ) from error
        self.groups.append(BlockGroup(tuple(blocks), chosen, products))
        return chosen

    def of_examples(self, chosen: Coefficients) -> list[list[float]]:
        """The factor of each example's gradient in the update, one list a block."""
        table: list[list[float]] = (self._request.scale * self._request.rows.coefficients_of_examples(chosen).double()).tolist()
        return table

    def add_target(self, blocks: Iterable[int], shares: Float[Tensor, " block"]) -> None:
        """Add the share ``a v`` of a target gradient given by the caller, which is the same in all processes, to ``.grad``.

        Args:
            blocks: Indices of the blocks.
            shares: ``a`` of each block.
        """
        request = self._request
        if request.target is None or not request.plan.leaves_update:
            return
        for index, share in zip(blocks, (request.scale * shares.double()).tolist(), strict=True):
            for name in request.plan.blocks[index].parameters:
                request.target.add_to(name, request.plan.parameter(name), share)
