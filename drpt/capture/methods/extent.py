"""Whose gradients are compared."""

from dataclasses import dataclass, field

from drpt.capture.exchange import Alone, Exchange


@dataclass(frozen=True, slots=True)
class Extent:
    """The examples of one step, wherever they are."""

    num_general: int  # n; examples 0 to n − 1
    num_target: int  # m; examples n to n + m − 1
    exchange: Exchange = field(default_factory=Alone)

    @property
    def num_examples(self) -> int:
        """``n + m``."""
        return self.num_general + self.num_target
