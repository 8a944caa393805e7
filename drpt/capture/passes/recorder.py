"""What captured modules tell of their parameters' uses during a step, and who receives it."""

from collections.abc import Callable, Sequence
from typing import NoReturn

import torch

from drpt.capture.checking.check import Check
from drpt.capture.gradients import UseGradient
from drpt.capture.passes.ledger import Ledger
from drpt.capture.segments import Layout
from drpt.capture.tokens import RecentTokens
from drpt.capture.trace import StepTrace


class StepRecorder:
    """Counts the uses of parameters in the ledger and hands what each leaves to the pass that runs; a `Recorder` of `sites`.

    Args:
        ledger: The step's ledger.
        layout: Where the examples of the first micro-batch are in its activations.
        check: What has been proved of the model.
        trace: Told of every use.
    """

    def __init__(self, ledger: Ledger, layout: Layout, check: Check, trace: StepTrace) -> None:
        self.layout = layout
        self.recent = RecentTokens()
        self.anchor = torch.zeros((), requires_grad=True)
        self.trial = check.trial(self.anchor)
        self.receive: Callable[[str, UseGradient], None] = _refuse_backward
        self.is_counting = True  # not in a second pass, which meets the same uses again
        self.rounding = 0.0  # coarsest machine epsilon of what updates are formed from
        self._ledger = ledger
        self._check = check
        self._trace = trace

    def next_micro_batch(self, layout: Layout) -> None:
        """Make ready for the forward pass of another micro-batch.

        Args:
            layout: Where its examples are in its activations.
        """
        self.layout = layout
        self.trial = self._check.trial(self.anchor)

    def next_replay(self, layout: Layout) -> None:
        """Make ready for a forward pass that is run again in a second pass, where nothing is proved or counted.

        Args:
            layout: Where the micro-batch's examples are in its activations.
        """
        self.layout = layout
        self.trial = None

    def announce(self, names: Sequence[str], num_bytes: int) -> None:
        """See `drpt.capture.sites.Recorder.announce`."""
        # A forward inside the backward pass is gradient checkpointing rebuilding activations of a use counted before.
        is_again = torch._C._current_graph_task_id() != -1 or (self.trial is not None and self.trial.is_running)
        if torch.is_grad_enabled() and not is_again and self.is_counting:
            self._ledger.announce(names, num_bytes)

    @torch.no_grad()
    def record(self, uses: Sequence[tuple[str, UseGradient]]) -> None:
        """See `drpt.capture.sites.Recorder.record`."""
        with self._trace.span("capture"):
            for name, use in uses:
                self.rounding = max(self.rounding, torch.finfo(use.dtype).eps)
                self._trace.recorded(name, use)
                self.receive(name, use)

    def forget(self) -> None:
        """Free activations."""
        # A recorded use, the graph and whoever receives it form a circle that Python's collector does not see.
        self.recent.forget()
        self.receive = _refuse_backward


def _refuse_backward(name: str, use: UseGradient) -> NoReturn:
    raise RuntimeError(
        f"a backward pass reached {name} while no step.backward was running: within a step of the capture an ordinary backward "
        "pass forms no update. Call step.backward(sample_losses) once for each micro-batch."
    )
