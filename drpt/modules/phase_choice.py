"""One choice over all responses of a rollout phase, before any of them is trained on.

Source: the iterative influence-based filtering (IIF) that Dr. Post-Training (Hu et al. 2026, arXiv 2605.07063) compares with:
each response is scored against the target objective's gradient over all layers, what points against it is dropped, and
ordinary training goes on with the rest. Departure: any rule that chooses examples may take the filter's place.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from drpt.capture.capture import GradientCapture
from drpt.capture.options import Pool
from drpt.capture.regularizer import Regularizer
from drpt.capture.target import TargetGradient
from drpt.data.batch import StepBatch, TokenBatch
from drpt.geometry.products import Coefficients
from drpt.modules.choices import choices_of_step


class PhaseChoice:
    """Which responses have a coefficient other than 0.

    Args:
        model: The policy.
        regularizer: One choice over all layers, of a set that chooses examples; unregularized parameters have no say.
        check: Whether the first choice proves that examples' gradients are formed rightly; see `GradientCapture`.
    """

    def __init__(
        self,
        model: nn.Module,
        regularizer: Regularizer,
        *,
        check: bool = True,
    ) -> None:
        self._regularizer = regularizer
        self.needs_target = regularizer.needs_target
        self._capture: GradientCapture | None = None  # a choice that looks at no gradient (at random) needs none
        if regularizer.needs_products:
            self._capture = GradientCapture(
                model,
                regularizer,
                leaves_update=False,
                check=check,
            )

    def __call__(
        self,
        model: nn.Module,
        batch: StepBatch,
        weights: Float[Tensor, " general"],
        target: TargetGradient | None,
        losses: Callable[[nn.Module, TokenBatch], Float[Tensor, " row"]],
    ) -> list[int]:
        """Choose.

        Args:
            model: The policy.
            batch: All responses of the phase, in as many parts as memory asks for.
            weights: ω of each.
            target: v, where it is needed.
            losses: Of a part's responses, with gradient.

        Returns:
            Places of those that are kept, ascending; ``.grad`` is as it was.
        """
        (choice,) = choices_of_step(batch, Pool.STEP, weights)
        if self._capture is None:
            return _kept(self._regularizer.coefficients(choice.rows.general, None, [0]))
        opened = self._capture.step(choice.rows, examples=(), num_parts=len(choice.parts), target=target)
        with opened as step:
            for part in choice.parts:
                step.part(example_of_token=part.example_of_token)
                step.backward(partial(losses, model, part))
        (group,) = step.report().groups[-1:]
        return _kept(group.coefficients)


def _kept(coefficients: Coefficients) -> list[int]:
    kept: list[int] = torch.nonzero(coefficients.general[0]).flatten().tolist()
    return kept
