"""Watching a step from outside: what benchmarks time and what tests look at, told as it happens."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeAlias

from drpt.capture.gradients import UseGradient
from drpt.capture.options import ProductsMethod
from drpt.capture.passes.ledger import Ledger

Span: TypeAlias = Literal["capture", "products", "solve", "update"]
_NOTHING = nullcontext()


class StepTrace:
    """Told what a step does; every method of this class does nothing, and a watcher overrides those it is interested in.

    Given to `drpt.capture.capture.GradientCapture.step`. What a method is given belongs to the step: look at it, keep numbers,
    and neither change it nor hold on to tensors.
    """

    def span(self, part: Span) -> AbstractContextManager[None]:
        """A context around one piece of the step's own work; pieces may contain others.

        Args:
            part: ``capture`` for bookkeeping, ``products`` for inner products, ``solve`` for choosing coefficients, ``update``
                for forming the update.

        Returns:
            A context manager, entered when the piece begins.
        """
        return _NOTHING

    def recorded(self, parameter: str, use: UseGradient) -> None:
        """The backward pass has reached one use of a parameter.

        Args:
            parameter: Qualified name of the parameter.
            use: What the use adds to the gradient.
        """

    def measured(self, uses: Sequence[UseGradient], method: ProductsMethod | None) -> None:
        """The products of one parameter matrix, or of one small parameter, are about to be computed.

        Args:
            uses: All uses of it in the step.
            method: The method of the products; None for a small parameter, whose per-example gradients are compared.
        """

    def solving(self, ledger: Ledger, blocks: Sequence[int]) -> None:
        """The coefficients of some blocks are about to be chosen.

        Args:
            ledger: What the step has reached, measured and kept.
            blocks: Indices of these blocks.
        """

    def closed(self, ledger: Ledger, *, is_two_pass: bool) -> None:
        """The step is over, and what it kept is about to be freed.

        Args:
            ledger: What the step has reached, measured and kept.
            is_two_pass: Whether a second backward pass formed the update.
        """


UNWATCHED = StepTrace()
