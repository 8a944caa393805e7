"""A target gradient that is given rather than taken from rows of the batch: of other texts, kept for several steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from drpt.capture.collectives import Collectives, SingleProcess
from drpt.capture.gradients import accumulating


@dataclass(frozen=True, slots=True)
class TargetGradient:
    """``v`` by parameter, in the parameters' shapes, on any device; a parameter that is missing has a gradient of zero."""

    grads: Mapping[str, Tensor]

    def direction(self, name: str, parameter: Tensor) -> Float[Tensor, "..."]:
        """The parameter's part of v, in float32 or better."""
        grad = self.grads.get(name)
        return accumulating(torch.zeros_like(parameter) if grad is None else grad.to(parameter.device))

    def add_to(self, name: str, parameter: nn.Parameter, factor: float) -> None:
        """Add ``factor · v`` to the parameter's ``.grad``."""
        grad = self.grads.get(name)
        if grad is None or factor == 0.0:
            return
        if parameter.grad is None:
            parameter.grad = (factor * grad).to(parameter)
        else:
            parameter.grad.add_(grad.to(parameter.grad), alpha=factor)

    def check(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Refuse what does not belong to the trained parameters.

        Args:
            parameters: By name.

        Raises:
            ValueError: A name is none of theirs, or a shape is another.
        """
        for name, grad in self.grads.items():
            if name not in parameters:
                raise ValueError(f"target: {name} is no trained parameter; they are named like {next(iter(parameters))}.")
            if grad.shape != parameters[name].shape:
                raise ValueError(
                    f"target: the gradient of {name} has shape {tuple(grad.shape)}, and the parameter "
                    f"{tuple(parameters[name].shape)}."
                )

    def state_dict(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return dict(self.grads)


def target_gradient(
    parameters: Mapping[str, nn.Parameter], backward: Callable[[], None], collectives: Collectives | None = None
) -> TargetGradient:
    """The gradient that ordinary backward passes leave; what is in ``.grad`` before is there again afterwards.

    Args:
        parameters: The trained ones, by name.
        backward: Runs them; several add up. With several processes, each its own part of the sum.
        collectives: Sums over processes.

    Returns:
        v; it owns the gradients.
    """
    collectives = collectives or SingleProcess()
    before = {name: parameter.grad for name, parameter in parameters.items()}
    for parameter in parameters.values():
        parameter.grad = None
    try:
        backward()
        grads = {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}
        if collectives.num_processes > 1:  # all of them ask for the same things, whatever their rows depend on
            grads = {
                name: collectives.add_up(grads[name] if name in grads else torch.zeros_like(parameter))
                for name, parameter in parameters.items()
            }
    finally:
        for name, parameter in parameters.items():
            parameter.grad = before[name]
    return TargetGradient(grads)
