"""One choice over all responses of a rollout phase, before any of them is trained on.

Source: the iterative influence-based filtering (IIF) that Dr. Post-Training (Hu et al. 2026, arXiv 2605.07063) compares with:
each response is scored against the target objective's gradient over all layers, what points against it is dropped, and
ordinary training goes on with the rest. Departure: any rule that chooses examples may take the filter's place.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from drpt.capture.capture import GradientCapture
from drpt.capture.layers.rules import DEFAULT_RULES, LayerRules
from drpt.capture.micro_batch import MicroBatch
from drpt.capture.regularizer import Regularizer
from drpt.capture.rows import StepRows
from drpt.capture.target import TargetGradient
from drpt.data.batch import TokenBatch
from drpt.geometry.products import Coefficients


class PhaseChoice:
    """Chooses the responses of a phase that have a coefficient other than 0.

    Args:
        model: Policy.
        regularizer: Regularizer that makes one choice over all layers, with a set that chooses examples.
        layer_rules: Rules by type of module.
        check: Whether the first choice proves that examples' gradients are formed rightly; see `GradientCapture`.
    """

    def __init__(
        self,
        model: nn.Module,
        regularizer: Regularizer,
        *,
        layer_rules: LayerRules = DEFAULT_RULES,
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
                layer_rules=layer_rules,
                check=check,
            )

    def __call__(
        self,
        rows: StepRows,
        micro_batches: Sequence[TokenBatch],
        target: TargetGradient | None,
        losses: Callable[[TokenBatch], Float[Tensor, " row"]],
    ) -> list[int]:
        """Choose.

        Args:
            rows: All responses of the phase, as the general examples of a step.
            micro_batches: Their tokens, in as many micro-batches as memory asks for.
            target: Target gradient v, where it is needed.
            losses: Computes the losses of a micro-batch's responses, with gradient.

        Returns:
            Indices of the responses that are kept, ascending; ``.grad`` is as it was.
        """
        if self._capture is None:
            return _kept(self._regularizer.coefficients(rows.general, None, [0]))
        parts = [MicroBatch(example_of_token=micro_batch.example_of_token) for micro_batch in micro_batches]
        with self._capture.step(rows, micro_batches=parts, target=target) as step:
            for micro_batch in micro_batches:
                step.backward(partial(losses, micro_batch))
        (group,) = step.report().groups
        return _kept(group.coefficients)


def _kept(coefficients: Coefficients) -> list[int]:
    kept: list[int] = torch.nonzero(coefficients.general[0]).flatten().tolist()
    return kept
