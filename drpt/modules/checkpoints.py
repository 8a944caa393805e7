"""Checkpoints: the last one to resume from, and the best one when target examples are held out to stop early."""

import math
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from drpt.modules.evaluation import HeldOutEvaluation

LAST = "last.ckpt"
BEST = "best.ckpt"


class Checkpoints(Callback):
    """Writes ``last.ckpt`` every few steps and ``best.ckpt`` where ``stopping/loss/mean`` is lowest.

    A file is written beside its place and renamed, so what is there is whole. The steps after which the lowest loss was
    reached travel in the checkpoint.

    Args:
        folder: Made when first needed.
        evaluation: Its callback must come earlier in the trainer's list.
        every_steps: Optimizer steps between two.
    """

    def __init__(self, folder: Path, evaluation: HeldOutEvaluation, *, every_steps: int) -> None:
        self._folder = folder
        self._evaluation = evaluation
        self._every_steps = every_steps
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
        if trainer.global_step % self._every_steps == 0:
            self._save(trainer, LAST)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The final state is always kept."""
        self._save(trainer, LAST)

    def state_dict(self) -> dict[str, Any]:
        """Which step was best, and what its model answered."""
        return {"best_loss": self.best_loss, "best_step": self.best_step, "best_samples": self.best_samples}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.best_loss, self.best_step = state_dict["best_loss"], state_dict["best_step"]
        self.best_samples = state_dict["best_samples"]

    def _keep_best(self, trainer: Trainer) -> None:
        loss = self._evaluation.latest.get("stopping/loss/mean")
        if loss is not None and loss < self.best_loss:
            self.best_loss, self.best_step = loss, trainer.global_step
            self.best_samples = self._evaluation.samples
            self._save(trainer, BEST)

    def _save(self, trainer: Trainer, name: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        half = self._folder / f".{name}.part"
        trainer.save_checkpoint(half)
        os.replace(half, self._folder / name)


def drop_optimizer_state(folder: Path) -> None:
    """Make the checkpoints of a finished run a third as large: what is left are the trained parameters and the counters.

    Args:
        folder: With ``last.ckpt`` and perhaps ``best.ckpt``.
    """
    for path in (folder / LAST, folder / BEST):
        if path.exists():
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            slim = {key: value for key, value in checkpoint.items() if key not in {"optimizer_states", "lr_schedulers"}}
            half = path.with_name(f".{path.name}.part")
            torch.save(slim, half)
            os.replace(half, path)
