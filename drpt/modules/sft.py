"""Supervised fine-tuning under a regularizer."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from drpt.capture.capture import GradientCapture
from drpt.capture.diagnostics import StepReport, merged_metrics
from drpt.capture.meter import ScoreMeter
from drpt.capture.sketch_spec import SketchSpec
from drpt.data.batch import StepBatch, TokenBatch
from drpt.evaluation.cost import CostMeter
from drpt.geometry.regularizer import Regularizer
from drpt.memory import release_memory
from drpt.modules.choices import Choice, choices_of_step
from drpt.modules.spec import TrainerSpec
from drpt.objectives.language_modeling import packed_sample_losses, sample_losses
from drpt.optim.adamw import build_adamw
from drpt.optim.spec import OptimizerSpec


class NonFiniteLossError(ArithmeticError):
    """A sample's loss is NaN or infinite."""


class SupervisedFineTuning(LightningModule):
    """One optimizer step a batch: sample losses inside the capture, the regularized update in ``.grad``, AdamW.

    Everything random within a step (dropout) is seeded by run seed and step, so that a resumed run repeats nothing and
    misses nothing.

    Args:
        model: Causal language model whose trained parameters require gradients.
        regularizer: What decides the update.
        sketch: The `sketch` config group.
        optimizer: The `optimizer` config group.
        trainer: The `trainer` config group.
        seed: Of dropout.
    """

    def __init__(
        self,
        model: nn.Module,
        regularizer: Regularizer,
        sketch: SketchSpec,
        optimizer: OptimizerSpec,
        trainer: TrainerSpec,
        *,
        seed: int,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # gradients come from the capture
        self.strict_loading = False  # checkpoints hold the trained parameters alone
        self.model = model
        self.cost = CostMeter(torch.device("cpu"))
        self._capture = GradientCapture(model, regularizer, sketch=sketch, retain_mib=trainer.retain_mib)
        self._meter: ScoreMeter | None = None
        if trainer.checks_scores and regularizer.needs_products:
            self._meter = ScoreMeter(model, regularizer, sketch=sketch, retain_mib=trainer.retain_mib)
        self._regularizer = regularizer
        self._optimizer_spec = optimizer
        self._trainer_spec = trainer
        self._seed = seed

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW over the trained parameters; the schedule is stepped by `training_step`."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        optimizer, schedule = build_adamw(trained, self._optimizer_spec, num_steps=self._trainer_spec.max_steps)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_fit_start(self) -> None:
        """Measure on the device that the trainer has chosen."""
        self.cost = CostMeter(self.device)

    def training_step(self, batch: StepBatch, batch_index: int) -> None:
        """Take one optimizer step and log what it did.

        Args:
            batch: General and target rows.
            batch_index: Unused; the batch knows its step.

        Raises:
            NonFiniteLossError: A sample's loss is NaN or infinite; nothing was updated.
        """
        torch.manual_seed((self._seed * 1_000_003 + batch.step) % 2**63)
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        choices = choices_of_step(batch, self._regularizer.pool, self._regularizer.base_weights)
        exact = self._exact_reports(choices, batch.step)  # no part of what a step costs
        with self.cost.step():
            optimizer.zero_grad(set_to_none=True)
            reports, losses = [], _Losses()
            for choice in choices:
                reports.append(self._backward(self.model, self._capture, choice, losses, batch.step))
            update_norm = self._clip()
            metrics = merged_metrics(reports, update_norm=update_norm)
            metrics["train/update_norm/mean"] = update_norm
            learning_rate = schedule.get_last_lr()[0]
            optimizer.step()
            schedule.step()
        metrics |= losses.means()
        if exact and self._meter is not None:
            metrics |= self._meter.compare([choice.rows for choice in choices], reports, exact).metrics()
        metrics["train/learning_rate/value"] = float(learning_rate)
        metrics |= self.cost.metrics
        num_tokens = sum(part.num_tokens for part in batch.parts)
        metrics["train/tokens/sum"] = float(num_tokens)
        metrics["train/padding_share/value"] = 1.0 - num_tokens / sum(part.token_ids.numel() for part in batch.parts)
        for logger in self.loggers:
            logger.log_metrics(metrics, step=batch.step + 1)
        # The progress bar reads it from the trainer's callback metrics.
        shown = "general" if batch.num_general else "target"
        self.log("train_loss", metrics[f"train/{shown}_loss/mean"], logger=False)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the trained parameters, the rest being the model that the configuration names, and automatic strengths."""
        trained = {f"model.{name}" for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        checkpoint["state_dict"] = {name: value for name, value in checkpoint["state_dict"].items() if name in trained}
        if self._regularizer.auto is not None:
            checkpoint["auto_strength"] = self._regularizer.auto.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of other parameters.

        Raises:
            ValueError: Trained parameters are missing from it.
        """
        missing = [
            name
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad and f"model.{name}" not in checkpoint["state_dict"]
        ]
        if missing:
            raise ValueError(f"the checkpoint lacks {len(missing)} trained parameters, {missing[0]} first.")
        if self._regularizer.auto is not None:
            self._regularizer.auto.load_state_dict(checkpoint["auto_strength"])

    def _exact_reports(self, choices: Sequence[Choice], step_number: int) -> list[StepReport]:
        """What the step would choose in float32; of a step that is not checked, nothing."""
        every = self._trainer_spec.score_check_steps
        if self._meter is None or every is None or step_number % every:
            return []
        with self._meter.exact() as (twin, capture):
            found = [self._backward(twin, capture, choice, _Losses(), step_number) for choice in choices]
        del twin, capture
        release_memory()  # the process's peak is reported with the step's cost
        return found

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
                    self._require_finite(found, step_number)
                    return found

                losses.add(step.backward(compute), part.examples, choice.rows.num_general)
        return step.report()

    def _require_finite(self, losses: Tensor, step: int) -> None:
        if not bool(torch.isfinite(losses).all()):
            rows = (~torch.isfinite(losses)).nonzero().flatten().tolist()
            raise NonFiniteLossError(
                f"step {step + 1}: the loss of {len(rows)} examples is NaN or infinite. Lower optimizer.lr "
                f"(now {self._optimizer_spec.lr:g}), set optimizer.clip_norm, or train with trainer.precision=32-true."
            )

    def _clip(self) -> float:
        """Cut the update's norm if asked to; returns what it was before."""
        trained = [p for p in self.model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None])
        if self._optimizer_spec.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(trained, self._optimizer_spec.clip_norm, norm)
        return float(norm)


def _sample_losses(model: nn.Module, tokens: TokenBatch, num_examples: int) -> Tensor:
    """Of the examples that are in the batch, in their order."""
    logits = model(**tokens.model_inputs(), use_cache=False).logits
    if not tokens.is_packed:
        return sample_losses(logits, tokens.token_ids, tokens.loss_mask)
    losses = packed_sample_losses(
        logits, tokens.token_ids, tokens.loss_mask, tokens.example_of_token, num_examples=num_examples
    )
    return losses[tokens.examples]


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
