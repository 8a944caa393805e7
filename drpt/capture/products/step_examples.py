"""Whose gradients are compared."""

from dataclasses import dataclass, field

from drpt.capture.collectives import Collectives, SingleProcess


@dataclass(frozen=True, slots=True)
class StepExamples:
    """The examples of one step, wherever they are."""

    num_general: int  # n; examples 0 to n − 1
    num_target: int  # m; examples n to n + m − 1
    collectives: Collectives = field(default_factory=SingleProcess)

    @property
    def num_examples(self) -> int:
        """``n + m``."""
        return self.num_general + self.num_target
