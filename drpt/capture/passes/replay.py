"""The losses of one micro-batch, which a step of several micro-batches may have to compute twice."""

from collections.abc import Callable

import torch
from torch import Tensor

from drpt.capture.segments import Layout


class Replay:
    """The losses of one micro-batch, and how to compute them once more with the same random numbers.

    Args:
        sample_losses: Losses of the micro-batch's examples [example], or a function that computes them.
        layout: Where the micro-batch's examples are in its activations.
    """

    def __init__(self, sample_losses: Tensor | Callable[[], Tensor], layout: Layout) -> None:
        self.layout = layout
        self._losses = sample_losses
        self._random_state: tuple[Tensor, Tensor | None] | None = None

    def first(self) -> Tensor:
        """The losses."""
        if isinstance(self._losses, Tensor):
            return self._losses
        is_cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
        self._random_state = (torch.get_rng_state(), torch.cuda.get_rng_state() if is_cuda else None)
        return self._losses()

    def require_function(self) -> None:
        """Refuse losses that cannot be computed again.

        Raises:
            ValueError: The losses were handed over as a tensor.
        """
        if isinstance(self._losses, Tensor):
            raise ValueError(
                "the step's micro-batches together keep more alive than activation_budget_mib allows, so that each must run "
                "twice: hand "
                "step.backward a function that computes the sample losses, or raise activation_budget_mib."
            )

    def again(self) -> Tensor:
        """The losses in a graph of their own; the random state of now is put back afterwards."""
        assert not isinstance(self._losses, Tensor)
        assert self._random_state is not None
        cpu, cuda = self._random_state
        with torch.random.fork_rng(devices=[] if cuda is None else [torch.cuda.current_device()]):
            torch.set_rng_state(cpu)
            if cuda is not None:
                torch.cuda.set_rng_state(cuda)
            return self._losses()
