"""Supervised fine-tuning under a regularizer."""

import torch
from torch import Tensor, nn

from drpt.capture.capture import GradientCapture
from drpt.capture.passes.report import StepReport
from drpt.data.batch import StepBatch, TokenBatch
from drpt.models.predictions import predict
from drpt.modules.choices import Choice, choices_of_step, step_weights
from drpt.modules.regularized import RegularizedTraining
from drpt.objectives.counted import predicting_places
from drpt.objectives.language_modeling import counted_losses, example_means, row_means


class SupervisedFineTuning(RegularizedTraining):
    """Trains on conversations: the loss of an example is the mean cross-entropy of its response tokens."""

    def training_step(self, batch: StepBatch, batch_index: int) -> None:
        """Take one optimizer step and log its metrics.

        Args:
            batch: General and target rows.
            batch_index: Not used; the batch knows its step.

        Raises:
            NonFiniteLossError: An example's loss is NaN or infinite; nothing was updated.
            NonFiniteUpdateError: The update is NaN or infinite; nothing was updated.
        """
        self.seed_step(batch.step)
        choices = choices_of_step(
            batch, self.regularizer.options.choice_scope, step_weights(batch, self.regularizer.base_weights)
        )
        seen = _Losses()

        def accumulate(model: nn.Module, capture: GradientCapture) -> list[StepReport]:
            return [self._accumulate(model, capture, choice, index, seen, batch.step) for index, choice in enumerate(choices)]

        metrics = self.run_step(batch.step, [choice.rows for choice in choices], accumulate) | seen.means()
        num_tokens = sum(micro_batch.num_tokens for micro_batch in batch.micro_batches)
        metrics["train/tokens/sum"] = float(num_tokens)
        metrics["train/padding_share/value"] = 1.0 - num_tokens / sum(part.token_ids.numel() for part in batch.micro_batches)
        self.log_step(metrics, batch.step, shown_loss=f"train/{'general' if batch.num_general else 'target'}_loss/mean")

    def _accumulate(
        self, model: nn.Module, capture: GradientCapture, choice: Choice, choice_index: int, seen: "_Losses", step_index: int
    ) -> StepReport:
        def losses(micro_batch_index: int, micro_batch: TokenBatch) -> Tensor:
            found = _sample_losses(model, micro_batch, choice.rows.num_examples)
            examples = micro_batch.examples
            self.require_finite(found, step_index, lambda index: choice.name_of(examples[index]))
            seen.record(
                (choice_index, micro_batch_index), found, num_general=sum(one < choice.rows.num_general for one in examples)
            )
            return found

        return choice.accumulate(capture, losses)


def _sample_losses(model: nn.Module, tokens: TokenBatch, num_examples: int) -> Tensor:
    """Losses of the examples of a micro-batch, in their order."""
    losses = counted_losses(
        predict(model, tokens.model_inputs(), predicting_places(tokens.loss_mask)).logits, tokens.token_ids, tokens.loss_mask
    )
    if not tokens.is_packed:
        return row_means(losses, tokens.loss_mask)
    means = example_means(losses, tokens.loss_mask, tokens.example_of_token, num_examples=num_examples)
    return means[tokens.examples]


class _Losses:
    """Losses of a step's examples, for the metrics; a micro-batch that is computed again replaces what was recorded."""

    def __init__(self) -> None:
        self._general: dict[tuple[int, int], Tensor] = {}  # by choice and micro-batch
        self._target: dict[tuple[int, int], Tensor] = {}

    def record(self, key: tuple[int, int], losses: Tensor, *, num_general: int) -> None:
        found = losses.detach().float()
        self._general[key], self._target[key] = found[:num_general], found[num_general:]

    def means(self) -> dict[str, float]:
        kinds = {"general": torch.cat(list(self._general.values())), "target": torch.cat(list(self._target.values()))}
        return {f"train/{kind}_loss/mean": float(losses.mean()) for kind, losses in kinds.items() if len(losses)}
