"""The one-pass step: what the backward passes reach is kept until its block's coefficients are chosen, and then applied."""

from torch import Tensor

from drpt.capture.gradients import UseGradient
from drpt.capture.passes.captured_pass import CapturedPass
from drpt.capture.passes.choosing import Chooser
from drpt.capture.passes.ledger import BlockEntry, Ledger
from drpt.capture.passes.recorder import StepRecorder
from drpt.capture.passes.replay import Replay
from drpt.capture.passes.request import StepRequest
from drpt.capture.passes.waiting import WaitingBlocks


class OnePass(CapturedPass):
    """See the module; under the layer partition, a block's uses are freed within the backward pass of its own layer.

    Args:
        request: What the step was opened with.
        ledger: What has been announced so far.
        recorder: Hands on what the backward passes reach.
        chooser: Chooses coefficients.
        expected_bytes: Bytes that all micro-batches are expected to announce in one process.
    """

    is_two_pass = False

    def __init__(
        self, request: StepRequest, ledger: Ledger, recorder: StepRecorder, chooser: Chooser, expected_bytes: int
    ) -> None:
        super().__init__(request, ledger, recorder, chooser)
        self._waiting = WaitingBlocks(self._plan.updates.num_processes)
        self._waiting.expect(expected_bytes / max(request.num_micro_batches, 1) / max(self._plan.num_regularized, 1))

    def backward(self, losses: Tensor, replay: Replay, *, is_last: bool) -> None:
        """See `CapturedPass.backward`."""
        self._is_last = is_last
        self._run_backward(losses, retain_graph=False)
        if is_last:
            with self._request.trace.span("capture"):
                self._measure_what_is_left()
                self._solve_what_is_left()

    def receive(self, name: str, use: UseGradient) -> None:
        """See `CapturedPass.receive`."""
        ledger = self._ledger
        ledger.reach(name)
        index = ledger.block_of(name)
        entry = ledger.entries[index]
        if entry.coefficients is not None:
            self._add_update(name, [use], entry.coefficients)
            return
        entry.uses.setdefault(name, []).append(use)
        if self._is_last and ledger.is_reached(name):
            self._measure(name)
            if entry.outstanding == 0:
                self._complete(index, entry)

    def _block_is_measured(self, index: int, entry: BlockEntry) -> None:
        self._waiting.add(index, sum(use.num_bytes for uses in entry.uses.values() for use in uses))
        # A sharded layer's update is formed while its parameters are whole.
        if self._plan.is_sharded or self._waiting.is_full:
            self._solve()

    def _solve(self) -> None:
        self._solve_together(self._waiting.take())
