"""One optimizer step as a training loop sees it."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.capture.checking.check import Check
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.layers.shared_values.shared_tensor import SharedTensor
from drpt.capture.options import ProductsMethod
from drpt.capture.passes.captured_pass import CapturedPass
from drpt.capture.passes.choosing import Chooser
from drpt.capture.passes.example_coverage import ExampleCoverage
from drpt.capture.passes.ledger import Ledger
from drpt.capture.passes.one_pass import OnePass
from drpt.capture.passes.plain import PlainPass
from drpt.capture.passes.recorder import StepRecorder
from drpt.capture.passes.replay import Replay
from drpt.capture.passes.report import StepReport
from drpt.capture.passes.request import StepRequest
from drpt.capture.passes.two_pass import TwoPass
from drpt.capture.segments import Layout

Losses: TypeAlias = Float[Tensor, " example"]


class CaptureStep:
    """One optimizer step; see `drpt.capture.capture.GradientCapture.step`.

    Which pass forms the update (plain, one-pass or two-pass) is decided at the first backward pass, when the first forward pass
    has announced what it would keep alive.

    Args:
        request: What the step was opened with.
        check: What has been proved of the model.

    Raises:
        ValueError: The micro-batches name an example that the step does not have, or one of them twice; or, in a single
            process, not all of them.
    """

    def __init__(self, request: StepRequest, check: Check) -> None:
        self._request = request
        self._coverage = ExampleCoverage(request.rows, request.layouts, request.computer.examples.collectives)
        self._ledger = Ledger(request.plan.blocks)
        first = request.layouts[0] if request.layouts else Layout(())
        self.recorder = StepRecorder(self._ledger, first, check, request.trace)
        self._chooser = Chooser(request)
        self._pass: PlainPass | CapturedPass | None = None
        self._num_done = 0  # micro-batches
        self._is_over = False

    def backward(self, sample_losses: Losses | Callable[[], Losses]) -> Losses:
        """Run the backward pass of the next micro-batch; the last one leaves the regularized update in ``.grad``, added to it.

        Args:
            sample_losses: Losses of the micro-batch's examples [example], in nats, in ascending order of the examples; any
                scale of a loss is part of its example's gradient. Or a function that computes them, which a step of several
                micro-batches may have to call twice.

        Returns:
            The losses.

        Raises:
            ValueError: Not one loss an example; an example is in no micro-batch or in several; processes differ in their
                number of micro-batches.
            UnsupportedModuleError: No forward of the model passed through the capture.
            RuntimeError: There are more micro-batches than the step was opened for.
        """
        request = self._request
        if self._num_done == request.num_micro_batches:
            raise RuntimeError(f"this step was opened for {self._opened_for()}, and another backward pass followed.")
        replay = Replay(sample_losses, self.recorder.layout, request.plan.parameter(next(iter(request.plan.owners))))
        losses = replay.first()
        self._check_losses(losses)
        if self._pass is None:
            self._begin(losses.device)
        assert self._pass is not None
        is_last = self._num_done == request.num_micro_batches - 1
        if is_last:
            self._coverage.require_everyone(losses.device)
        # Autocast is for forward passes: here it would round sums, gramians and what solvers make of them.
        with torch.autocast(losses.device.type, enabled=False):
            self._pass.backward(losses, replay, is_last=is_last)
        self._num_done += 1
        self._is_over = is_last
        self.recorder.next_micro_batch(request.layouts[-1 if is_last else self._num_done])
        return losses

    def finish(self) -> None:
        """Leave the update of a step without examples, whose target gradient is given: target-only training.

        Raises:
            RuntimeError: The step has examples, or no target gradient is given.
        """
        request = self._request
        if request.target is None or request.rows.num_examples:
            raise RuntimeError("finish is for steps without examples whose target gradient is given; else call backward.")
        if request.plan.is_plain:
            self._pass = PlainPass(request, self._chooser)
        else:
            self._pass = OnePass(request, self._ledger, self.recorder, self._chooser, expected_bytes=0)
        self._pass.finish_without_examples()
        self._is_over = True

    def cancel(self) -> None:
        """Let the step be closed without an update, as after a loss that is not finite; throw away what is in ``.grad``."""
        self._is_over = True

    def require_end(self) -> None:
        """Refuse to be closed before the update is there.

        Raises:
            RuntimeError: Micro-batches are missing.
        """
        if not self._is_over:
            raise RuntimeError(
                f"this step was opened for {self._opened_for()} and closed after {self._num_done}: call its "
                "backward(sample_losses) once for each micro-batch (an ordinary backward pass forms no update here), finish() "
                "where there is none, or cancel() to leave the step."
            )

    def report(self) -> StepReport:
        """What was chosen and how the update compares with the target gradient, block by block."""
        plan = self._request.plan
        is_whole = self._request.computer.examples.collectives.num_processes == plan.updates.num_processes
        is_exact = plan.regularizer.options.products is not ProductsMethod.SKETCH
        return StepReport(
            tuple(self._chooser.groups),
            tuple(block.name for block in plan.blocks),
            scale=self._request.scale,
            rounding=self.recorder.rounding if is_whole and is_exact else None,
        )

    def close(self) -> None:
        """Free activations, whatever happened."""
        self._request.trace.closed(self._ledger, is_two_pass=self._pass is not None and self._pass.is_two_pass)
        self.recorder.forget()
        if self._pass is not None:
            self._pass.forget()

    def _begin(self, device: torch.device) -> None:
        """Decide which pass forms the update."""
        self._request = request = replace(self._request, rows=self._request.rows.to(device))
        plan, ledger = request.plan, self._ledger
        expected_bytes = plan.expected_bytes(
            ledger.announced_bytes,
            len(request.layouts[0].examples),
            request.rows.num_examples,
            request.num_micro_batches,
            request.computer.examples.collectives,
            device,
        )
        self._chooser = Chooser(request)
        if plan.is_plain:
            self._pass = PlainPass(request, self._chooser)
            return
        captured: CapturedPass
        if plan.needs_second_pass(expected_bytes, request.num_micro_batches):
            captured = TwoPass(request, ledger, self.recorder, self._chooser)
        else:
            captured = OnePass(request, ledger, self.recorder, self._chooser, expected_bytes)
        with torch.autocast(device.type, enabled=False):
            captured.choose_without_products()
        self._pass = captured

    def _check_losses(self, losses: Tensor) -> None:
        if isinstance(losses, SharedTensor):
            raise UnsupportedModuleError(
                "the losses are made of values that all rows share: the batch's rows are not the first axis inside the model, "
                "or the model was called with other rows than the step's. Call it once with all rows of the micro-batch, and "
                "name the micro-batches of a step when it is opened (capture.step(…, micro_batches=…))."
            )
        num_expected = len(self.recorder.layout.examples)
        if losses.shape != (num_expected,):
            rows = self._request.rows
            raise ValueError(
                f"sample_losses has shape {tuple(losses.shape)}; this micro-batch holds {num_expected} of the step's "
                f"{rows.num_general} general and {rows.num_target} target examples, so ({num_expected},) was expected."
            )

    def _opened_for(self) -> str:
        count = self._request.num_micro_batches
        return f"{count} micro-batch" + ("" if count == 1 else "es")
