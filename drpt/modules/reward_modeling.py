"""A reward learned from preferences (Bradley–Terry) under a regularizer."""

from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from drpt.capture.capture import GradientCapture
from drpt.capture.diagnostics import StepReport
from drpt.capture.regularizer import Regularizer
from drpt.capture.rows import StepRows
from drpt.data.encoded_pairs import EncodedPairs, PairBatch
from drpt.data.prompts import StepNumbers
from drpt.geometry.products import GeneralRows
from drpt.models.reward_model import RewardModel, save_reward_model
from drpt.modules.checkpoint_files import BEST, load_trained
from drpt.modules.regularized import RegularizedTraining
from drpt.modules.spec import TrainerSpec
from drpt.objectives.preference import bradley_terry_losses
from drpt.optim.spec import OptimizerSpec

REWARD_FOLDER = "reward_model"


class RewardModeling(RegularizedTraining):
    """One optimizer step a batch of pairs, each an example with its Bradley–Terry loss; pairs count alike.

    Args:
        model: Of which the head is trained.
        regularizer: What decides the update.
        optimizer: The `optimizer` config group.
        trainer: The `trainer` config group.
        pairs: Of every step.
        seed: Of the run.
    """

    model: RewardModel

    def __init__(
        self,
        model: RewardModel,
        regularizer: Regularizer,
        optimizer: OptimizerSpec,
        trainer: TrainerSpec,
        *,
        pairs: EncodedPairs,
        seed: int,
    ) -> None:
        super().__init__(model, regularizer, optimizer, trainer, seed=seed)
        self.pairs = pairs

    def train_dataloader(self) -> StepNumbers:
        """Numbers of the steps to come; the pairs of each are known."""
        return StepNumbers(self.trainer_spec.max_steps, taken=lambda: self.trainer.global_step)

    def training_step(self, batch: int, batch_index: int) -> None:
        """Take one optimizer step and log what it did.

        Args:
            batch: Number of the step.
            batch_index: Unused.

        Raises:
            NonFiniteLossError: A pair's loss is NaN or infinite; nothing was updated.
            NonFiniteUpdateError: The update is; nothing was updated.
        """
        pairs = self.pairs.step_pairs(int(batch))
        differences = pairs.differences.to(self.device)
        self.seed_step(pairs.step)
        with self.cost.step():
            self.optimizers().zero_grad(set_to_none=True)
            margins, report = self._backward(self.capture, pairs, differences)
            metrics = self.take_step([report], pairs.step)
        metrics |= self.cost.metrics
        kinds = {"general": margins[: pairs.num_general], "target": margins[pairs.num_general :]}
        for kind, found in kinds.items():
            if len(found):
                metrics |= {f"train/{kind}_{name}": value for name, value in pair_figures(found).items()}
        self.log_step(metrics, pairs.step)
        # The progress bar reads it from the trainer's callback metrics.
        shown = "general" if pairs.num_general else "target"
        self.log("train_loss", metrics[f"train/{shown}_loss/mean"], logger=False)

    def _backward(self, capture: GradientCapture, pairs: PairBatch, differences: Tensor) -> tuple[Tensor, StepReport]:
        """Leave the regularized update in ``.grad``; the pairs' margins, and what was chosen."""
        n = pairs.num_general
        general = GeneralRows(
            base_weights=torch.full((n,), 1.0 / max(n, 1), dtype=torch.float32, device=differences.device),
            example_ids=pairs.example_ids.to(differences.device),
            draw=pairs.step,
        )
        with capture.step(StepRows(general=general, num_target=pairs.num_target)) as step:
            margins = self.model.scores(differences)
            losses = bradley_terry_losses(margins)
            self.require_finite(losses, pairs.step, lambda place: _name_of(pairs, place))
            step.backward(losses)
        return margins.detach(), step.report()


def _name_of(pairs: PairBatch, place: int) -> str:
    n = pairs.num_general
    return f"general pair {int(pairs.example_ids[place])}" if place < n else f"target pair {place - n + 1} of the step"


def pair_figures(margins: Tensor) -> dict[str, float]:
    """Loss and accuracy of pairs.

    Args:
        margins: ``r_chosen − r_rejected`` [pair]; at least one.

    Returns:
        ``loss/mean``, nats a pair; ``accuracy/mean``, the share of pairs whose chosen response has the higher score, where
        equal scores count half.
    """
    right = (margins > 0).double() + 0.5 * (margins == 0).double()
    return {"loss/mean": float(bradley_terry_losses(margins.double()).mean()), "accuracy/mean": float(right.mean())}


class RewardModelWriter(Callback):
    """Leaves the trained reward model in the run's folder.

    Args:
        folder: The run's.
        checkpoints: The run's folder of checkpoints; where it has a best one, that one's head is written.
        max_length: Tokens of a text that the encoder reads.
    """

    def __init__(self, folder: Path, checkpoints: Path, *, max_length: int) -> None:
        self._folder = folder / REWARD_FOLDER
        self._best = checkpoints / BEST
        self._max_length = max_length

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it; also where a resumed run had no step left to take."""
        model = pl_module.model
        if self._best.exists():
            load_trained(model, self._best)  # the last checkpoint is written: nothing goes on from here
        with torch.no_grad():
            center = float(model.scores(pl_module.pairs.middle.to(pl_module.device)[None])[0])
        save_reward_model(model.head, self._folder, max_length=self._max_length, center=center)
