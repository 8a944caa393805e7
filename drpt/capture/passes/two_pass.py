"""The two-pass step: the first pass keeps products alone, and a second one, with coefficients known, forms the update.

For steps that would keep more activations alive than the budget allows. A step of one micro-batch walks the same graph twice;
of several micro-batches, each is computed again.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from drpt.capture.gradients import UseGradient
from drpt.capture.passes.captured_pass import CapturedPass
from drpt.capture.passes.choosing import Chooser
from drpt.capture.passes.ledger import BlockEntry, Ledger
from drpt.capture.passes.partial_products import PartialProducts
from drpt.capture.passes.recorder import StepRecorder
from drpt.capture.passes.replay import Replay
from drpt.capture.passes.request import StepRequest


class TwoPass(CapturedPass):
    """A step that keeps products alone in its first pass.

    Args:
        request: What the step was opened with.
        ledger: Uses announced so far.
        recorder: Source of what the backward passes reach.
        chooser: Chooses coefficients.
    """

    is_two_pass = True

    def __init__(self, request: StepRequest, ledger: Ledger, recorder: StepRecorder, chooser: Chooser) -> None:
        super().__init__(request, ledger, recorder, chooser)
        self._measured: list[int] = []  # blocks whose products are there; all are solved together
        self._replays: list[Replay] = []
        is_single = request.num_micro_batches == 1
        self._partial = None if is_single else PartialProducts(request.computer)

    def backward(self, losses: Tensor, replay: Replay, *, is_last: bool) -> None:
        """See `CapturedPass.backward`."""
        self._is_last = is_last
        if self._partial is not None:
            replay.require_function()
            self._replays.append(replay)
            self._partial.next_micro_batch(replay.layout.examples, losses.device)
        is_graph_kept = self._partial is None and self._plan.leaves_update
        self._run_backward(losses, retain_graph=is_graph_kept)
        self._add_to_partial_products(self._ledger.unmeasured())  # parameters of which the loss reaches some uses alone
        if is_last:
            with self._request.trace.span("capture"):
                self._add_partial_products()
                self._measure_what_is_left()
                self._solve_what_is_left()
            if self._plan.leaves_update:
                self._second_pass(losses)

    def receive(self, name: str, use: UseGradient) -> None:
        """See `CapturedPass.receive`; the first pass."""
        ledger = self._ledger
        ledger.reach(name)
        index = ledger.block_of(name)
        entry = ledger.entries[index]
        if entry.coefficients is not None:
            return  # not regularized: the second pass forms the update
        entry.uses.setdefault(name, []).append(use)
        if not ledger.is_reached(name):
            return
        if self._partial is not None:
            self._add_to_partial_products([name])
        else:
            self._measure(name)
            if entry.outstanding == 0:
                self._complete(index, entry)

    def forget(self) -> None:
        """See `CapturedPass.forget`."""
        super().forget()
        self._replays.clear()
        self._partial = None

    def _measure(self, name: str) -> BlockEntry:
        entry = super()._measure(name)
        del entry.uses[name]
        return entry

    @torch.no_grad()
    def _add_to_partial_products(self, names: Sequence[str]) -> None:
        if self._partial is not None:
            for name in names:
                entry = self._ledger.entries[self._ledger.block_of(name)]
                self._partial.add(name, entry.uses.pop(name), self._direction(name))

    @torch.no_grad()
    def _add_partial_products(self) -> None:
        if self._partial is not None:
            for name, products in self._partial.products():
                self._ledger.add_products(name, products)

    def _block_is_measured(self, index: int, entry: BlockEntry) -> None:
        self._measured.append(index)

    def _solve(self) -> None:
        self._solve_together(self._measured)
        self._measured = []

    def _second_pass(self, losses: Tensor) -> None:
        self._recorder.is_counting = False
        self._recorder.receive = self._receive_again
        if self._partial is None:
            losses.sum().backward()
        for replay in self._replays:
            self._recorder.next_replay(replay.layout)
            again = replay.again()
            with torch.autocast(again.device.type, enabled=False):
                again.sum().backward()

    def _receive_again(self, name: str, use: UseGradient) -> None:
        coefficients = self._ledger.entries[self._ledger.block_of(name)].coefficients
        if coefficients is not None:
            self._add_update(name, [use], coefficients)
