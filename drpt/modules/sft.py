"""Supervised fine-tuning under a regularizer."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from drpt.capture.capture import GradientCapture
from drpt.capture.rows import StepRows
from drpt.data.batch import StepBatch
from drpt.evaluation.cost import CostMeter
from drpt.geometry.catalogue import BaseWeights
from drpt.geometry.products import GeneralRows
from drpt.geometry.regularizer import Regularizer
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
        optimizer: The `optimizer` config group.
        num_steps: Optimizer steps of the whole run.
        seed: Of dropout.
    """

    def __init__(
        self, model: nn.Module, regularizer: Regularizer, optimizer: OptimizerSpec, *, num_steps: int, seed: int
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # gradients come from the capture
        self.strict_loading = False  # checkpoints hold the trained parameters alone
        self.model = model
        self.cost = CostMeter(torch.device("cpu"))
        self._capture = GradientCapture(model, regularizer)
        self._regularizer = regularizer
        self._optimizer_spec = optimizer
        self._num_steps = num_steps
        self._seed = seed

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW over the trained parameters; the schedule is stepped by `training_step`."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        optimizer, schedule = build_adamw(trained, self._optimizer_spec, num_steps=self._num_steps)
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
        with self.cost.step():
            optimizer.zero_grad(set_to_none=True)
            rows = self._rows(batch)
            with self._capture.step(rows) as step:
                losses = self._sample_losses(batch)
                self._require_finite(losses, batch.step)
                step.backward(losses)
            update_norm = self._clip()
            metrics = step.report().metrics(update_norm=update_norm)
            metrics["train/update_norm/mean"] = update_norm
            learning_rate = schedule.get_last_lr()[0]
            optimizer.step()
            schedule.step()
        losses = losses.detach().float().cpu()
        if rows.num_general:
            metrics["train/general_loss/mean"] = float(losses[: rows.num_general].mean())
        if rows.num_target:
            metrics["train/target_loss/mean"] = float(losses[rows.num_general :].mean())
        metrics["train/learning_rate/value"] = float(learning_rate)
        metrics |= self.cost.metrics
        num_tokens = batch.tokens.num_tokens
        metrics["train/tokens/sum"] = float(num_tokens)
        metrics["train/padding_share/value"] = 1.0 - num_tokens / batch.tokens.token_ids.numel()
        for logger in self.loggers:
            logger.log_metrics(metrics, step=batch.step + 1)
        # The progress bar reads it from the trainer's callback metrics.
        shown = "general" if rows.num_general else "target"
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

    def _rows(self, batch: StepBatch) -> StepRows:
        n = len(batch.example_ids)
        if self._regularizer.base_weights is BaseWeights.TOKEN and n:
            counts = batch.tokens.loss_tokens(batch.num_examples)[:n].float()
            weights = counts / counts.sum()
        else:
            weights = torch.full((n,), 1.0 / max(n, 1), device=self.device)
        general = GeneralRows(base_weights=weights, example_ids=batch.example_ids, draw=batch.step)
        return StepRows(general=general, num_target=batch.num_target)

    def _sample_losses(self, batch: StepBatch) -> Tensor:
        tokens = batch.tokens
        logits = self.model(**tokens.model_inputs(), use_cache=False).logits
        if not tokens.is_packed:
            return sample_losses(logits, tokens.token_ids, tokens.loss_mask)
        return packed_sample_losses(
            logits, tokens.token_ids, tokens.loss_mask, tokens.example_of_token, num_examples=batch.num_examples
        )

    def _require_finite(self, losses: Tensor, step: int) -> None:
        if not bool(torch.isfinite(losses).all()):
            rows = (~torch.isfinite(losses)).nonzero().flatten().tolist()
            raise NonFiniteLossError(
                f"step {step + 1}: the loss of rows {rows} is NaN or infinite. Lower optimizer.lr "
                f"(now {self._optimizer_spec.lr:g}), set optimizer.clip_norm, or train with trainer.precision=32-true."
            )

    def _clip(self) -> float:
        """Cut the update's norm if asked to; returns what it was before."""
        trained = [p for p in self.model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None])
        if self._optimizer_spec.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(trained, self._optimizer_spec.clip_norm, norm)
        return float(norm)
