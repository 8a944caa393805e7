"""Supervised fine-tuning under a regularizer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from drpt.capture.capture import GradientCapture
from drpt.capture.diagnostics import StepReport
from drpt.data.batch import StepBatch, TokenBatch
from drpt.models.predictions import predict
from drpt.modules.choices import Choice, choices_of_step, step_weights
from drpt.modules.regularized import RegularizedTraining
from drpt.objectives.counted import predicting_places
from drpt.objectives.language_modeling import counted_losses, example_means, row_means


class SupervisedFineTuning(RegularizedTraining):
    """One optimizer step a batch: sample losses inside the capture, the regularized update in ``.grad``, AdamW."""

    def training_step(self, batch: StepBatch, batch_index: int) -> None:
        """Take one optimizer step and log what it did.

        Args:
            batch: General and target rows.
            batch_index: Unused; the batch knows its step.

        Raises:
            NonFiniteLossError: A sample's loss is NaN or infinite; nothing was updated.
            NonFiniteUpdateError: The update is; nothing was updated.
        """
        self.seed_step(batch.step)
        choices = choices_of_step(batch, self.regularizer.options.pool, step_weights(batch, self.regularizer.base_weights))
        # No part of what a step costs.
        exact = self.exact_reports(
            batch.step, lambda model, capture: self._choose(model, capture, choices, _Losses(), batch.step)
        )
        with self.cost.step():
            self.optimizers().zero_grad(set_to_none=True)
            losses = _Losses()
            reports = self._choose(self.model, self.capture, choices, losses, batch.step)
            metrics = self.take_step(reports, batch.step)
        metrics |= losses.means()
        if exact and self.meter is not None:
            metrics |= self.meter.compare([choice.rows for choice in choices], reports, exact).metrics()
        metrics |= self.cost.metrics
        num_tokens = sum(part.num_tokens for part in batch.parts)
        metrics["train/tokens/sum"] = float(num_tokens)
        metrics["train/padding_share/value"] = 1.0 - num_tokens / sum(part.token_ids.numel() for part in batch.parts)
        self.log_step(metrics, batch.step)
        # The progress bar reads it from the trainer's callback metrics.
        shown = "general" if batch.num_general else "target"
        self.log("train_loss", metrics[f"train/{shown}_loss/mean"], logger=False)

    def _choose(
        self, model: nn.Module, capture: GradientCapture, choices: Sequence[Choice], losses: "_Losses", step_number: int
    ) -> list[StepReport]:
        return [self._backward(model, capture, choice, losses, step_number) for choice in choices]

    def _backward(
        self, model: nn.Module, capture: GradientCapture, choice: Choice, losses: "_Losses", step_number: int
    ) -> StepReport:
        """One choice's share of the update, batch by batch."""
        opened = capture.step(choice.rows, examples=(), num_parts=len(choice.parts), scale=choice.scale)
        with opened as step:
            for part in choice.parts:
                step.part(example_of_token=part.example_of_token)

                def compute(part: TokenBatch = part) -> Tensor:
                    found = _sample_losses(model, part, choice.rows.num_examples)
                    self.require_finite(found, step_number, lambda place: choice.name_of(part.examples[place]))
                    return found

                losses.add(step.backward(compute), part.examples, choice.rows.num_general)
        return step.report()


def _sample_losses(model: nn.Module, tokens: TokenBatch, num_examples: int) -> Tensor:
    """Of the examples that are in the batch, in their order."""
    losses = counted_losses(
        predict(model, tokens.model_inputs(), predicting_places(tokens.loss_mask)).logits, tokens.token_ids, tokens.loss_mask
    )
    if not tokens.is_packed:
        return row_means(losses, tokens.loss_mask)
    means = example_means(losses, tokens.loss_mask, tokens.example_of_token, num_examples=num_examples)
    return means[tokens.examples]


class _Losses:
    """What the examples of a step lost, kept for the metrics."""

    def __init__(self) -> None:
        self._general: list[Tensor] = []
        self._target: list[Tensor] = []

    def add(self, losses: Tensor, examples: list[int], num_general: int) -> None:
        count = sum(example < num_general for example in examples)
        found = losses.detach().float()
        self._general.append(found[:count])
        self._target.append(found[count:])

    def means(self) -> dict[str, float]:
        kinds = {"general": torch.cat(self._general), "target": torch.cat(self._target)}
        return {f"train/{kind}_loss/mean": float(losses.mean()) for kind, losses in kinds.items() if len(losses)}
