"""The losses of one micro-batch, which a step of several micro-batches may have to compute twice."""

from collections.abc import Callable

from torch import Tensor

from drpt.capture.random_state import RandomState, random_again, random_state
from drpt.capture.segments import Layout


class Replay:
    """The losses of one micro-batch, and how to compute them once more with the same random numbers.

    Args:
        sample_losses: Losses of the micro-batch's examples [example], or a function that computes them.
        layout: Where the micro-batch's examples are in its activations.
        parameter: A parameter of the model, on the device whose random numbers the losses depend on.
    """

    def __init__(self, sample_losses: Tensor | Callable[[], Tensor], layout: Layout, parameter: Tensor) -> None:
        self.layout = layout
        self._losses = sample_losses
        self._parameter = parameter
        self._random_state: RandomState | None = None

    def first(self) -> Tensor:
        """The losses."""
        if isinstance(self._losses, Tensor):
            return self._losses
        self._random_state = random_state(self._parameter)
        return self._losses()

    def require_function(self) -> None:
        """Refuse losses that cannot be computed again.

        Raises:
            ValueError: The losses were handed over as a tensor.
        """
        if isinstance(self._losses, Tensor):
            raise ValueError(
                "the step's micro-batches together keep more alive than activation_budget_mib allows, so that each must run "
                "twice: hand step.backward a function that computes the sample losses, or raise activation_budget_mib."
            )

    def again(self) -> Tensor:
        """The losses in a graph of their own; the random state of now is put back afterwards."""
        assert not isinstance(self._losses, Tensor)
        assert self._random_state is not None
        with random_again(self._random_state):
            return self._losses()
