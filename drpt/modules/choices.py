"""The choices of one step: usually one, over all its examples; or one for each process's or micro-batch's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from drpt.capture.capture import GradientCapture
from drpt.capture.micro_batch import MicroBatch
from drpt.capture.options import BaseWeights, ChoiceScope
from drpt.capture.passes.report import StepReport
from drpt.capture.rows import StepRows
from drpt.capture.target import TargetGradient
from drpt.data.batch import StepBatch, TokenBatch
from drpt.geometry.products import GeneralRows


@dataclass(frozen=True, slots=True)
class Choice:
    """Examples among which coefficients are chosen, and the micro-batches of this process that hold some of them."""

    rows: StepRows
    micro_batches: tuple[TokenBatch, ...]  # whose examples are counted among this choice's
    scale: float  # this choice's share of the step's update

    def accumulate(
        self,
        capture: GradientCapture,
        losses: Callable[[int, TokenBatch], Float[Tensor, " example"]],
        *,
        scale: float = 1.0,
        target: TargetGradient | None = None,
    ) -> StepReport:
        """Add this choice's share of the step's update to ``.grad``, one micro-batch after another.

        Args:
            capture: Capture of the model that computes the losses.
            losses: Computes the losses of a micro-batch's examples with gradient, given its index and the micro-batch. It is
                called again where a second pass is needed, and must compute the same then.
            scale: Factor of the whole step's update.
            target: Target gradient v, where it does not come from rows of the micro-batches.

        Returns:
            The coefficients that were chosen, and their figures.
        """
        parts = [MicroBatch(example_of_token=micro_batch.example_of_token) for micro_batch in self.micro_batches]
        with capture.step(self.rows, micro_batches=parts, scale=self.scale * scale, target=target) as step:
            for index, micro_batch in enumerate(self.micro_batches):
                step.backward(partial(losses, index, micro_batch))
        return step.report()

    def name_of(self, example: int) -> str:
        """Name of an example in messages.

        Args:
            example: Index among this choice's examples.

        Returns:
            Its place in its pool, or in the step.
        """
        n = self.rows.num_general
        if example < n:
            return f"general example {int(self.rows.general.example_ids[example])}"
        return f"target example {example - n + 1} of the step's {self.rows.num_target}"


def choices_of_step(batch: StepBatch, choice_scope: ChoiceScope, weights: Float[Tensor, " general"]) -> list[Choice]:
    """Split a step by ``regularizer.choice_scope``.

    The shares are those of the general base weights, or of the target examples in a step without general ones; they sum to
    1 over all processes.

    Args:
        batch: Examples of the step.
        choice_scope: Among which examples a choice is made.
        weights: Base weights ω of the step's general examples; sum 1.

    Returns:
        At least one choice.
    """
    if choice_scope is ChoiceScope.STEP:
        return [_choice(batch, list(range(batch.num_examples)), batch.micro_batches, weights)]
    if choice_scope is ChoiceScope.RANK:
        return [
            _choice(batch, sorted({e for part in batch.micro_batches for e in part.examples}), batch.micro_batches, weights)
        ]
    return [_choice(batch, part.examples, [part], weights) for part in batch.micro_batches]


def step_weights(batch: StepBatch, base_weights: BaseWeights) -> Float[Tensor, " general"]:
    """ω of a step's general examples.

    Args:
        batch: Examples of the step.
        base_weights: Whether examples weigh alike, or by their share of the step's loss tokens.

    Returns:
        Weights [general] of sum 1; empty in a step without general examples.
    """
    n = batch.num_general
    if base_weights is BaseWeights.TOKEN and n:
        counts = batch.loss_tokens.float()
        return counts / counts.sum()
    # The dtype is given, since Lightning makes bfloat16 torch's default during a step of bf16-true.
    return torch.full((n,), 1.0 / max(n, 1), dtype=torch.float32, device=batch.example_ids.device)


def _choice(batch: StepBatch, examples: Sequence[int], micro_batches: Sequence[TokenBatch], weights: Tensor) -> Choice:
    general = [example for example in examples if example < batch.num_general]
    num_target = len(examples) - len(general)
    own = weights[general]
    share = float(own.sum()) if general else num_target / max(batch.num_target, 1)
    rows = GeneralRows(
        base_weights=own / own.sum() if general else own,
        example_ids=batch.example_ids[general],
        step_index=batch.step,
    )
    if len(examples) < batch.num_examples:
        micro_batches = [_renumbered(micro_batch, examples, batch.num_examples) for micro_batch in micro_batches]
    return Choice(StepRows(general=rows, num_target=num_target), tuple(micro_batches), share)


def _renumbered(micro_batch: TokenBatch, examples: Sequence[int], num_examples: int) -> TokenBatch:
    """The micro-batch with its examples counted among some of the step's."""
    places: Int[Tensor, " example"] = torch.full((num_examples + 1,), -1, device=micro_batch.example_of_token.device)
    places[list(examples)] = torch.arange(len(examples), device=places.device)
    return TokenBatch(
        token_ids=micro_batch.token_ids,
        attention_mask=micro_batch.attention_mask,
        position_ids=micro_batch.position_ids,
        loss_mask=micro_batch.loss_mask,
        example_of_token=places[micro_batch.example_of_token],  # −1, padding, looks up the last place, which says −1
    )
