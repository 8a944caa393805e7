"""What all training modules share: a model under a capture, the skeleton of a step, the optimizer, and checkpoints."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from drpt.capture.capture import GradientCapture
from drpt.capture.layers.outside import rules_with
from drpt.capture.passes.report import StepReport, merged_metrics
from drpt.capture.precision.meter import ScoreMeter
from drpt.capture.regularizer import Regularizer
from drpt.capture.rows import StepRows
from drpt.errors import NonFiniteLossError, NonFiniteWeightsError, UpdateMismatchError
from drpt.evaluation.cost import CostMeter
from drpt.interruption import begin_protected, end_protected
from drpt.memory import release_memory
from drpt.modules.spec import TrainerSpec
from drpt.modules.update_watch import UpdateWatch, num_non_finite
from drpt.optim.build import build_optimizer
from drpt.optim.spec import OptimizerSpec

_log = logging.getLogger(__name__)
_SHOWN_NAMES = 4  # of parameters, or of examples


# Leaves the regularized update of a step in ``.grad``, given a model and its capture; one report for each choice.
Accumulate = Callable[[nn.Module, GradientCapture], list[StepReport]]


@dataclass(frozen=True, kw_only=True)
class TrainingSpecs:
    """Settings of the run that every training module needs."""

    optimizer: OptimizerSpec
    trainer: TrainerSpec
    seed: int


class RegularizedTraining(LightningModule):
    """Manual optimization: gradients come from the capture, and every batch is one optimizer step.

    A subclass's ``training_step`` calls `seed_step`, `run_step` with a function that accumulates the update, and `log_step`.
    Everything random within a step (dropout) is seeded by run seed and step, so that a resumed run repeats nothing and
    misses nothing.

    Args:
        model: Model whose trained parameters require gradients.
        regularizer: Regularizer that decides the update, with the options of the capture.
        specs: Config groups and seed of the run.
    """

    def __init__(self, model: nn.Module, regularizer: Regularizer, specs: TrainingSpecs) -> None:
        super().__init__()
        self.automatic_optimization = False  # gradients come from the capture
        self.strict_loading = False  # checkpoints hold the trained parameters alone
        self.model = model
        self.cost = CostMeter(torch.device("cpu"))
        trainer = specs.trainer
        layer_rules = rules_with(trainer.layer_rules)
        self.capture = GradientCapture(model, regularizer, layer_rules=layer_rules, check=trainer.check_capture)
        self.watch = UpdateWatch(self.capture.parameters, self.capture.plan.blocks, self.capture.unregularized)
        self.meter: ScoreMeter | None = None
        if trainer.checks_scores and regularizer.needs_products:
            self.meter = ScoreMeter(model, regularizer, layer_rules=layer_rules)
        self.regularizer = regularizer
        self.optimizer_spec = specs.optimizer
        self.trainer_spec = trainer
        self.seed = specs.seed
        self._is_stepping = False  # between the update and the end of the step
        self._after_step: dict[str, Any] | None = None  # see `end_step`

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimizer over the trained parameters; `run_step` steps the schedule."""
        num_steps = self.trainer_spec.max_steps
        optimizer, schedule = build_optimizer(self.parameter_groups(), self.optimizer_spec, num_steps=num_steps)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The trained parameters as an optimizer takes them; a group's own ``lr`` overrides the configuration's."""
        return [{"params": [parameter for parameter in self.model.parameters() if parameter.requires_grad]}]

    def on_fit_start(self) -> None:
        """Measure on the device that the trainer has chosen, and log which parameters are not regularized."""
        self.cost = CostMeter(self.device)
        if names := self.capture.unregularized:
            more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
            _log.info("the ordinary general gradient goes to %s%s", ", ".join(names[:_SHOWN_NAMES]), more)

    def seed_step(self, step_index: int) -> None:
        """Make what is random in a step a function of run seed and step."""
        torch.manual_seed((self.seed * 1_000_003 + step_index) % 2**63)

    def run_step(self, step_index: int, rows: Sequence[StepRows], accumulate: Accumulate) -> dict[str, float]:
        """One optimizer step: compute the update, check it, and let the optimizer take it.

        Args:
            step_index: Index of the optimizer step, from 0.
            rows: Examples of each of the step's choices.
            accumulate: Leaves the regularized update in ``.grad``. Where scores are to be compared with float32's it is
                called before with a float32 copy of the model, and must do the same there.

        Returns:
            Metrics of the update, of its scores' rounding where they are compared, and of its cost.

        Raises:
            NonFiniteUpdateError: The update is NaN, infinite or too large for AdamW; no weight has changed.
            UpdateMismatchError: The update is not what the choice describes; no weight has changed.
        """
        exact = self._exact_reports(step_index, accumulate)  # no part of what a step costs
        with self.cost.step():
            self.optimizers().zero_grad(set_to_none=True)
            reports = accumulate(self.model, self.capture)
            metrics = self._take_step(reports, step_index)
        if exact and self.meter is not None:
            metrics |= self.meter.compare(rows, reports, exact).metrics()
        return metrics | self.cost.metrics

    def _exact_reports(self, step_index: int, accumulate: Accumulate) -> list[StepReport]:
        """What the step would choose in float32, one report for each choice; none in a step that is not compared."""
        every = self.trainer_spec.score_check_steps
        if self.meter is None or every is None or step_index % every:
            return []
        with self.meter.exact(sketch_era=self.capture.sketch_era) as (twin, capture):
            found = accumulate(twin, capture)
        del twin, capture
        release_memory()  # the process's peak is reported with the step's cost
        return found

    def _take_step(self, reports: Sequence[StepReport], step_index: int) -> dict[str, float]:
        """Check the update that is in ``.grad``, clip its norm if asked to, and let the optimizer take it.

        From the update to `end_step` nothing is interrupted: weights and counters are not of one step. The norm in the metrics
        is that of the regularized parameters before clipping: what it is compared with is theirs.

        Args:
            reports: Reports of the step's choices.
            step_index: Index of the optimizer step, from 0.

        Returns:
            Metrics of the update.

        Raises:
            UpdateMismatchError: The update is not what the choices describe; no weight has changed.
        """
        norm = self.watch.norm(step_index)
        try:
            metrics = merged_metrics(reports, update_norm=norm.regularized)
        except UpdateMismatchError as error:
            raise UpdateMismatchError(f"step {step_index + 1}: {error}") from error
        clip_norm = self.optimizer_spec.clip_norm
        if clip_norm is not None and norm.whole > clip_norm:
            gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
            torch._foreach_mul_(gradients, clip_norm / norm.whole)
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        metrics["train/update_norm/mean"] = norm.regularized
        metrics["train/learning_rate/value"] = float(schedule.get_last_lr()[0])
        self._is_stepping = True
        begin_protected()
        metrics |= self.watch.count(norm, metrics)
        optimizer.step()
        schedule.step()
        return metrics

    def end_step(self) -> None:
        """Keep the state that the next step changes before its update, so that a checkpoint can be written until then.

        Weights and the optimizer's state stay as they are until then, and are not copied.

        Raises:
            Interrupted: The run was told to stop during the update.
        """
        if self._is_stepping:
            self._after_step = {"fit_loop": self.trainer.fit_loop.state_dict(), **self.state_between_steps()}
            self._is_stepping = False
            end_protected()

    def state_between_steps(self) -> dict[str, Any]:
        """State that a step changes before its update, for a checkpoint; may hold objects that no later step changes."""
        state: dict[str, Any] = {"updates": self.watch.state_dict()}
        if self.regularizer.auto is not None:
            state["auto_strength"] = self.regularizer.auto.state_dict()
        return state

    def require_finite_weights(self, step: int) -> None:
        """Refuse to save, or to end with, weights that are not finite.

        Args:
            step: Number of optimizer steps taken.

        Raises:
            NonFiniteWeightsError: A trained weight or its optimizer state is NaN or infinite.
        """
        self.watch.require_finite_weights(self.optimizers().state, step)

    def require_change(self) -> None:
        """Refuse to finish a run that changed nothing.

        Raises:
            VanishedUpdatesError: All its updates were zero.
        """
        self.watch.require_change()

    def log_step(self, metrics: dict[str, float], step_index: int, *, shown_loss: str | None = None) -> None:
        """Hand a step's metrics to every logger.

        Args:
            metrics: Metrics of the step.
            step_index: Index of the optimizer step, from 0.
            shown_loss: Metric that the progress bar shows as the training loss; None for none.
        """
        for logger in self.loggers:
            logger.log_metrics(metrics, step=step_index + 1)
        if shown_loss is not None:  # the progress bar reads it from the trainer's callback metrics
            self.log("train_loss", metrics[shown_loss], logger=False)

    def require_finite(self, losses: Tensor, step_index: int, name: Callable[[int], str]) -> None:
        """Stop before a NaN or an infinity reaches the weights.

        Args:
            losses: Losses of some examples of the step.
            step_index: Index of the optimizer step, from 0.
            name: Names the example whose loss stands at an index of ``losses``.

        Raises:
            NonFiniteLossError: Some losses are not finite; nothing was updated.
        """
        if not bool(torch.isfinite(losses).all()):
            places = (~torch.isfinite(losses)).nonzero().flatten().tolist()
            more = f" and {len(places) - _SHOWN_NAMES} more" if len(places) > _SHOWN_NAMES else ""
            raise NonFiniteLossError(
                f"step {step_index + 1}: the loss of {len(places)} examples is NaN or infinite "
                f"({', '.join(name(place) for place in places[:_SHOWN_NAMES])}{more}). Lower optimizer.lr "
                f"(now {self.optimizer_spec.lr:g}), set optimizer.clip_norm, or train with trainer.precision=32-true."
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the trained parameters (the configuration names the rest of the model), and the state after the latest step."""
        trained = {f"model.{name}" for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        checkpoint["state_dict"] = {name: value for name, value in checkpoint["state_dict"].items() if name in trained}
        state = dict(self.state_between_steps() if self._after_step is None else self._after_step)
        if (fit_loop := state.pop("fit_loop", None)) is not None:
            checkpoint["loops"]["fit_loop"] = fit_loop
        checkpoint.update(state)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of other parameters, or with weights that are not finite.

        Raises:
            ValueError: Trained parameters are missing from it.
            NonFiniteWeightsError: Some of its weights are NaN or infinite.
        """
        missing = [
            name
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad and f"model.{name}" not in checkpoint["state_dict"]
        ]
        if missing:
            raise ValueError(f"the checkpoint lacks {len(missing)} trained parameters, {missing[0]} first.")
        bad = [name for name, value in checkpoint["state_dict"].items() if num_non_finite(value)]
        if bad:
            raise NonFiniteWeightsError(
                f"the checkpoint to go on from has NaN or infinite weights in {len(bad)} parameters, {bad[0]} first. Delete "
                "the run's folder, or begin anew with another sweep=…, with a lower optimizer.lr."
            )
        if "updates" in checkpoint:  # a run that was begun before updates were counted has none
            self.watch.load_state_dict(checkpoint["updates"])
        if self.regularizer.auto is not None:
            self.regularizer.auto.load_state_dict(checkpoint["auto_strength"])
        self._after_step = {"fit_loop": checkpoint["loops"]["fit_loop"], **self.state_between_steps()}
