"""What one step was opened with."""

from dataclasses import dataclass

from drpt.capture.passes.step_plan import StepPlan
from drpt.capture.products.computer import ProductComputer
from drpt.capture.rows import StepRows
from drpt.capture.segments import Layout
from drpt.capture.target import TargetGradient
from drpt.capture.trace import StepTrace


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRequest:
    """One step's examples, its micro-batches, and what is to be made of them."""

    plan: StepPlan
    computer: ProductComputer
    rows: StepRows  # general and target examples of the step
    layouts: tuple[Layout, ...]  # of the micro-batches, in the order of their backward passes
    scale: float  # factor of the update
    target: TargetGradient | None  # a target gradient given by the caller, instead of target examples
    trace: StepTrace

    @property
    def num_micro_batches(self) -> int:
        """Micro-batches of this process."""
        return len(self.layouts)
