"""The choices of one step: usually one, over all its examples; or one for each process's or micro-batch's own."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from drpt.capture.options import BaseWeights, Pool
from drpt.capture.rows import StepRows
from drpt.data.batch import StepBatch, TokenBatch
from drpt.geometry.products import GeneralRows


@dataclass(frozen=True, slots=True)
class Choice:
    """Examples among which coefficients are chosen, and the batches of this process that hold some of them."""

    rows: StepRows
    parts: tuple[TokenBatch, ...]  # with places among this choice's examples
    scale: float  # this choice's share of the step's update

    def name_of(self, example: int) -> str:
        """What messages call an example.

        Args:
            example: Its place among this choice's examples.

        Returns:
            For people.
        """
        n = self.rows.num_general
        if example < n:
            return f"general example {int(self.rows.general.example_ids[example])}"
        return f"target example {example - n + 1} of the step's {self.rows.num_target}"


def choices_of_step(batch: StepBatch, pool: Pool, weights: Float[Tensor, " general"]) -> list[Choice]:
    """Split a step by ``regularizer.pool``.

    The shares are those of the general base weights, or of the target examples in a step without general ones; they sum to
    1 over all processes.

    Args:
        batch: The step's examples.
        pool: Among which the choice is made.
        weights: ω, over the step's general examples; sum 1.

    Returns:
        At least one choice.
    """
    if pool is Pool.STEP:
        return [_choice(batch, list(range(batch.num_examples)), batch.parts, weights)]
    if pool is Pool.RANK:
        return [_choice(batch, sorted({e for part in batch.parts for e in part.examples}), batch.parts, weights)]
    return [_choice(batch, part.examples, [part], weights) for part in batch.parts]


def step_weights(batch: StepBatch, base_weights: BaseWeights) -> Float[Tensor, " general"]:
    """ω of a step's general examples.

    Args:
        batch: The step.
        base_weights: Every example alike, or by its share of the step's loss tokens.

    Returns:
        Sum 1; empty in a step without general examples.
    """
    n = batch.num_general
    if base_weights is BaseWeights.TOKEN and n:
        counts = batch.loss_tokens.float()
        return counts / counts.sum()
    # Said, since Lightning makes bfloat16 torch's default during a step of bf16-true.
    return torch.full((n,), 1.0 / max(n, 1), dtype=torch.float32, device=batch.example_ids.device)


def _choice(batch: StepBatch, examples: Sequence[int], parts: Sequence[TokenBatch], weights: Tensor) -> Choice:
    general = [example for example in examples if example < batch.num_general]
    num_target = len(examples) - len(general)
    own = weights[general]
    share = float(own.sum()) if general else num_target / max(batch.num_target, 1)
    rows = GeneralRows(
        base_weights=own / own.sum() if general else own,
        example_ids=batch.example_ids[general],
        draw=batch.step,
    )
    if len(examples) < batch.num_examples:
        parts = [_renumbered(part, examples, batch.num_examples) for part in parts]
    return Choice(StepRows(general=rows, num_target=num_target), tuple(parts), share)


def _renumbered(part: TokenBatch, examples: Sequence[int], num_examples: int) -> TokenBatch:
    """The part with its examples' places among some of the step's."""
    places: Int[Tensor, " example"] = torch.full((num_examples + 1,), -1, device=part.example_of_token.device)
    places[list(examples)] = torch.arange(len(examples), device=places.device)
    return TokenBatch(
        token_ids=part.token_ids,
        attention_mask=part.attention_mask,
        position_ids=part.position_ids,
        loss_mask=part.loss_mask,
        example_of_token=places[part.example_of_token],  # −1, padding, looks up the last place, which says −1
    )
