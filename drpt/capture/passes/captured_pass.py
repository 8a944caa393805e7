"""What the one-pass and the two-pass step have in common: measuring parameters, solving blocks, applying the coefficients."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from drpt.capture.gradients import UseGradient
from drpt.capture.passes.choosing import Chooser
from drpt.capture.passes.ledger import BlockEntry, Ledger
from drpt.capture.passes.recorder import StepRecorder
from drpt.capture.passes.replay import Replay
from drpt.capture.passes.request import StepRequest
from drpt.capture.passes.updates import add_update
from drpt.capture.products.cost import Need
from drpt.geometry.products import Coefficients


class CapturedPass(ABC):
    """A step whose modules are captured.

    Args:
        request: What the step was opened with.
        ledger: What has been announced so far.
        recorder: Hands on what the backward passes reach.
        chooser: Chooses coefficients.
    """

    is_two_pass: bool

    def __init__(self, request: StepRequest, ledger: Ledger, recorder: StepRecorder, chooser: Chooser) -> None:
        self._request = request
        self._plan = request.plan
        self._ledger = ledger
        self._recorder = recorder
        self._chooser = chooser
        self._is_last = False  # whether the micro-batch of now is the step's last
        recorder.receive = self.receive

    @abstractmethod
    def receive(self, name: str, use: UseGradient) -> None:
        """Take what the backward pass has reached.

        Args:
            name: Qualified name of the parameter.
            use: What the use adds to the gradient.
        """

    @abstractmethod
    def backward(self, losses: Tensor, replay: Replay, *, is_last: bool) -> None:
        """Run the backward pass of one micro-batch; the last one leaves the update.

        Args:
            losses: Losses of the micro-batch's examples [example], in nats.
            replay: Computes them once more.
            is_last: Whether this is the step's last micro-batch.
        """

    @abstractmethod
    def _block_is_measured(self, index: int, entry: BlockEntry) -> None:
        """The products of all parameters of a block are there."""

    @abstractmethod
    def _solve(self) -> None:
        """Choose the coefficients of the blocks that are measured and not yet solved."""

    def finish_without_examples(self) -> None:
        """Leave the share of a target gradient given by the caller."""
        self.choose_without_products()

    def forget(self) -> None:
        """Free activations."""
        self._ledger.entries.clear()

    def choose_without_products(self) -> None:
        """Choose at once what depends on no gradient, so that each use is applied as it comes."""
        plan, rows = self._plan, self._request.rows
        unregularized = range(plan.num_regularized, len(plan.blocks))
        self._apply(unregularized, rows.ordinary_coefficients(len(unregularized)))
        if not plan.regularizer.needs_products:
            blocks = range(plan.num_regularized)
            self._apply(blocks, self._chooser.choose(None, blocks))

    def _run_backward(self, losses: Tensor, *, retain_graph: bool) -> None:
        if self._is_last:
            self._ledger.require_use()
            self._measure_what_is_left()  # parameters of earlier micro-batches that this one does not use
        if self._recorder.trial is not None:
            self._recorder.trial.prove(losses, self._recorder.layout, self._plan.updates if self._plan.is_sharded else None)
        losses.sum().backward(retain_graph=retain_graph)
        self._ledger.drop_unreached()

    def _measure(self, name: str) -> BlockEntry:
        uses = self._ledger.entries[self._ledger.block_of(name)].uses[name]
        return self._ledger.add_products(name, self._request.computer(uses, self._direction(name)))

    @torch.no_grad()
    def _measure_what_is_left(self) -> None:
        for name in self._ledger.unmeasured():
            self._measure(name)

    @torch.no_grad()
    def _solve_what_is_left(self) -> None:
        is_given = self._request.target is not None and self._plan.regularizer.needs_products
        for index in range(self._plan.num_regularized) if is_given else sorted(self._ledger.entries):
            entry = self._ledger.entries[index]
            if not entry.is_measured and (is_given or entry.sums is not None):
                self._complete(index, entry)
        self._solve()

    def _complete(self, index: int, entry: BlockEntry) -> None:
        entry.is_measured = True
        self._add_unreached(index, entry)
        self._block_is_measured(index, entry)

    def _add_unreached(self, index: int, entry: BlockEntry) -> None:
        """Count in ``<v, v>`` the parts of a target gradient given by the caller whose parameters no example reached."""
        if self._request.target is None:
            return
        n = self._request.rows.num_general
        for name in self._plan.blocks[index].parameters:
            if name not in entry.measured:
                direction = self._direction(name)
                assert direction is not None
                shapes = [(n,), (n, n)] if self._request.computer.need is Need.GRAMIAN else [(n,)]
                along, *gramian = (direction.new_zeros(shape) for shape in shapes)
                self._ledger.add_products(name, (along, direction.square().sum(), *gramian))

    def _direction(self, name: str) -> Tensor | None:
        target = self._request.target
        return None if target is None else target.direction(name, self._plan.parameter(name))

    def _solve_together(self, blocks: Sequence[int]) -> None:
        """Choose the coefficients of measured blocks, and apply them to what is kept of these blocks."""
        if not blocks:
            return
        self._request.trace.solving(self._ledger, blocks)
        computer = self._request.computer
        products = computer.products([self._ledger.entries[index].sums or () for index in blocks])
        self._apply(blocks, self._chooser.choose(products, blocks))

    def _apply(self, blocks: Sequence[int], chosen: Coefficients) -> None:
        for index, coefficients in zip(blocks, self._chooser.of_examples(chosen), strict=True):
            entry = self._ledger.entries[index]
            entry.coefficients, entry.sums = coefficients, None
            for name, uses in entry.uses.items():
                self._add_update(name, uses, coefficients)
            entry.uses.clear()
        self._chooser.add_target(blocks, chosen.target)

    def _add_update(self, name: str, uses: Sequence[UseGradient], coefficients: Sequence[float]) -> None:
        with self._request.trace.span("update"):
            add_update(self._plan, name, uses, coefficients)
