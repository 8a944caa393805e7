"""Checkpoints: the last one to resume from, and the best one when target examples are held out to stop early."""

import math
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from drpt.modules.evaluation import Evaluation
from drpt.modules.update_watch import num_non_finite

LAST = "last.ckpt"
BEST = "best.ckpt"


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or holds other parameters than those that are trained here."""


class Checkpoints(Callback):
    """Writes ``last.ckpt`` every few steps and ``best.ckpt`` where the loss on held-out target examples is lowest.

    A file is written beside its place and renamed, so what is there is whole; weights that are NaN or infinite are not written.
    The steps after which the lowest loss was reached travel in the checkpoint.

    Args:
        folder: Made when first needed.
        evaluation: Its callback must come earlier in the trainer's list.
        every_steps: Optimizer steps between two.
        keep_steps: After these steps the trained parameters are kept for good, in files of their own.
    """

    def __init__(self, folder: Path, evaluation: Evaluation, *, every_steps: int, keep_steps: Sequence[int]) -> None:
        self._folder = folder
        self._evaluation = evaluation
        self._every_steps = every_steps
        self._keep_steps = frozenset(keep_steps)
        self.best_loss = math.inf
        self.best_step: int | None = None
        self.best_samples: list[dict[str, str | bool]] = []  # answers of the best model

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The untrained model may turn out to be the best."""
        if trainer.global_step == 0:
            self._keep_best(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Save what is due; the best first, so that the last knows of it."""
        self._keep_best(trainer)
        if trainer.global_step in self._keep_steps:
            self._save(trainer, step_file(trainer.global_step), weights_only=True)
        if trainer.global_step % self._every_steps == 0:
            self._save(trainer, LAST)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The final state is always kept."""
        self._save(trainer, LAST)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that changed nothing has failed; also where it is resumed and has no step left to take."""
        pl_module.require_change()

    def state_dict(self) -> dict[str, Any]:
        """Which step was best, and what its model answered."""
        return {"best_loss": self.best_loss, "best_step": self.best_step, "best_samples": self.best_samples}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.best_loss, self.best_step = state_dict["best_loss"], state_dict["best_step"]
        self.best_samples = state_dict["best_samples"]

    def _keep_best(self, trainer: Trainer) -> None:
        loss = self._evaluation.stopping_loss
        if loss is not None and loss < self.best_loss:
            self.best_loss, self.best_step = loss, trainer.global_step
            self.best_samples = self._evaluation.samples
            self._save(trainer, BEST)

    def _save(self, trainer: Trainer, name: str, *, weights_only: bool = False) -> None:
        trainer.lightning_module.require_finite_weights(trainer.global_step)
        self._folder.mkdir(parents=True, exist_ok=True)
        half = self._folder / f".{name}.part"
        trainer.save_checkpoint(half, weights_only=weights_only)
        os.replace(half, self._folder / name)


def step_file(step: int) -> str:
    """Name of the checkpoint that keeps the trained parameters after a step."""
    return f"step-{step}.ckpt"


def drop_optimizer_state(folder: Path) -> None:
    """Make the checkpoints of a finished run a third as large: what is left are the trained parameters and the counters.

    Args:
        folder: With ``last.ckpt`` and perhaps ``best.ckpt``.
    """
    for path in (folder / LAST, folder / BEST):
        if path.exists():
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            slim = {
                key: value for key, value in checkpoint.items() if key not in {"optimizer_states", "lr_schedulers", "rollouts"}
            }
            half = path.with_name(f".{path.name}.part")
            torch.save(slim, half)
            os.replace(half, path)


def load_trained(model: nn.Module, path: Path) -> int:
    """Put a checkpoint's trained parameters into a model.

    Args:
        model: As it was when training began, with the same parameters trainable; all of them are replaced.
        path: ``last.ckpt`` or ``best.ckpt``.

    Returns:
        Optimizer steps that had been taken.

    Raises:
        CheckpointError: The file is missing or broken, its parameters are not exactly the trainable ones, or some are NaN or
            infinite.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        state = {name.removeprefix("model."): value for name, value in checkpoint["state_dict"].items()}
        step = int(checkpoint["global_step"])
    except (OSError, EOFError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path}: cannot be read ({reason}).") from error
    trained = {name: parameter.shape for name, parameter in model.named_parameters() if parameter.requires_grad}
    wrong = [
        name for name in {*trained, *state} if name not in trained or name not in state or state[name].shape != trained[name]
    ]
    if wrong:
        raise CheckpointError(
            f"{path}: {len(wrong)} of its parameters are not those that the configuration trains, {min(wrong)} first. It "
            "belongs to another model, or to another finetune.* setting."
        )
    bad = [name for name, value in state.items() if num_non_finite(value)]
    if bad:
        raise CheckpointError(
            f"{path}: {len(bad)} of its parameters have NaN or infinite entries, {min(bad)} first. The run that wrote it "
            "diverged; train again with a lower optimizer.lr."
        )
    model.load_state_dict(state, strict=False)
    return step
