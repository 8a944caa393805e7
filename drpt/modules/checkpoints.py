"""When checkpoints are written: every few steps, at the lowest held-out loss, at the end, and when a run is told to stop."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from drpt.errors import NonFiniteError
from drpt.interruption import acknowledge, is_protected, is_stopping, protected
from drpt.journal import Journal
from drpt.modules.checkpoint_files import BEST, CHECKPOINT_RUN, LAST, step_file
from drpt.modules.evaluation import Evaluation
from drpt.storage import StorageError

_log = logging.getLogger(__name__)


class Checkpoints(Callback):
    """Writes ``last.ckpt`` every few steps and ``best.ckpt`` where the loss on held-out target examples is lowest.

    A file is written beside its place and renamed, so that what is there is whole; the last one before stays as
    ``previous.ckpt``. Weights that are NaN or infinite are not written. A run that is interrupted writes the state after its
    latest step, wherever it is. What travels in a checkpoint besides the trainer's state: the step after which the lowest
    loss was reached, what the run's journals held, and the fingerprints of its data.

    Args:
        folder: Folder of the checkpoints, made when first needed.
        evaluation: Callback that measures the loss; it must come earlier in the trainer's list, as must `StepEnd`.
        journals: Files of the run's folder that are appended to.
        data: Fingerprints of what the run is made from, by name.
        every_steps: Optimizer steps between two checkpoints.
        keep_steps: Steps after which the trained parameters are kept for good, in files of their own.
    """

    def __init__(
        self,
        folder: Path,
        evaluation: Evaluation,
        *,
        journals: Sequence[Journal],
        data: Mapping[str, str | None],
        every_steps: int,
        keep_steps: Sequence[int],
    ) -> None:
        self._folder = folder
        self._evaluation = evaluation
        self._journals = journals
        self._data = data
        self._every_steps = every_steps
        self._keep_steps = set(keep_steps)  # still to come
        self._kept_steps: set[int] = set()
        self._is_restored = False  # all of the trainer's state is there: it can be written
        self._on_disk: tuple[int, int | None] | None = None  # steps taken and evaluated of what is in the last one
        self.best_loss = math.inf
        self.best_step: int | None = None
        self.best_samples: list[dict[str, str | bool]] = []  # answers of the best model

    @property
    def step_on_disk(self) -> int:
        """Where a resume goes on: steps of the last checkpoint, 0 without one."""
        return 0 if self._on_disk is None else self._on_disk[0]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The untrained model may turn out to be the best; a resumed run may have been stopped before it saved what was due."""
        self._is_restored = True
        self._save_due(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Save what is due."""
        self._save_due(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The final state is always kept."""
        self._save_last(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that changed nothing has failed; also where it is resumed and has no step left to take."""
        self._save_due(trainer)
        pl_module.require_change()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save the state after the latest step where the run was told to stop; errors leave the checkpoints as they are."""
        if isinstance(exception, Exception) and not is_stopping():
            return
        acknowledge()
        try:
            self.rescue(trainer)
        except (StorageError, NonFiniteError) as error:
            _log.warning("no checkpoint could be written: %s", error)

    def rescue(self, trainer: Trainer) -> None:
        """Save the state after the latest step, unless it is on the disk; nothing where a step was left half done.

        Args:
            trainer: Trainer that is stopped, or in a computation that changes neither weights nor counters.

        Raises:
            StorageError: It cannot be written.
            NonFiniteError: Weights are NaN or infinite.
        """
        if self._is_restored and not is_protected() and trainer.global_step:
            self._save_last(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """What the run's files held when this state was reached."""
        checkpoint[CHECKPOINT_RUN] = {
            "journals": {journal.path.name: journal.state() for journal in self._journals},
            "data": dict(self._data),
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: Mapping[str, Any]) -> None:
        """Know what is on the disk."""
        state = checkpoint["callbacks"].get(self._evaluation.state_key, {})
        self._on_disk = checkpoint["global_step"], state.get("step")

    def state_dict(self) -> dict[str, Any]:
        """Which step was best, what its model answered, and after which steps the parameters were kept."""
        best = {"best_loss": self.best_loss, "best_step": self.best_step, "best_samples": self.best_samples}
        return best | {"kept_steps": sorted(self._kept_steps)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.best_loss, self.best_step = state_dict["best_loss"], state_dict["best_step"]
        self.best_samples = state_dict["best_samples"]
        self._kept_steps = set(state_dict.get("kept_steps", ()))

    def _save_due(self, trainer: Trainer) -> None:
        """Save the best checkpoint first, so that the last one can refer to it."""
        step = trainer.global_step
        loss = self._evaluation.stopping_loss
        if loss is not None and loss < self.best_loss:
            with protected():
                self._save_best(trainer, loss)
        if step in self._keep_steps:
            with protected():
                self._save(trainer, step_file(step), weights_only=True)
                self._keep_steps.remove(step)
                self._kept_steps.add(step)
        if step and step % self._every_steps == 0:
            self._save_last(trainer)

    def _save_best(self, trainer: Trainer, loss: float) -> None:
        before = self.best_loss, self.best_step, self.best_samples
        self.best_loss, self.best_step, self.best_samples = loss, trainer.global_step, self._evaluation.samples
        try:
            self._save(trainer, BEST)
        except BaseException:
            self.best_loss, self.best_step, self.best_samples = before
            raise

    def _save_last(self, trainer: Trainer) -> None:
        now = trainer.global_step, self._evaluation.evaluated_step
        if self._on_disk != now:
            with protected():
                self._save(trainer, LAST)
                self._on_disk = now

    def _save(self, trainer: Trainer, name: str, *, weights_only: bool = False) -> None:
        trainer.lightning_module.require_finite_weights(trainer.global_step)
        for journal in self._journals:
            journal.sync()  # before anything says that they hold so much
        trainer.save_checkpoint(self._folder / name, weights_only=weights_only)
