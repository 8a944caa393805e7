"""One forward and backward pass of a step: which of the step's examples it holds, and where."""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from drpt.capture.segments import Examples, Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """The examples of one micro-batch, described by exactly one of the two fields.

    Raises:
        ValueError: Neither field or both are given.
    """

    examples: Examples | None = None  # the example of each row: general ones from 0, target ones after them
    example_of_token: Int[Tensor, "row token"] | None = None  # the example of each token, −1 for padding

    def __post_init__(self) -> None:
        """Check the values."""
        if (self.examples is None) == (self.example_of_token is None):
            raise ValueError("a micro-batch is described by examples=… or by example_of_token=…, by one of the two.")

    def layout(self) -> Layout:
        """Where its examples are in its activations."""
        return Layout(() if self.examples is None else self.examples, self.example_of_token)
