"""A reward learned from preferences (Bradley–Terry) under a regularizer."""

from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from drpt.capture.capture import GradientCapture
from drpt.capture.passes.report import StepReport
from drpt.capture.regularizer import Regularizer
from drpt.capture.rows import StepRows
from drpt.data.encoded_pairs import EncodedPairs, PairBatch
from drpt.data.prompts import StepNumbers
from drpt.geometry.products import GeneralRows
from drpt.models.reward_model import RewardModel, save_reward_model
from drpt.modules.checkpoint_files import BEST, load_trained
from drpt.modules.regularized import RegularizedTraining, TrainingSpecs
from drpt.objectives.preference import bradley_terry_losses

REWARD_FOLDER = "reward_model"


class RewardModeling(RegularizedTraining):
    """Trains on pairs: each is an example with its Bradley–Terry loss, and all weigh alike.

    Args:
        model: Encoder with the head that is trained.
        regularizer: Regularizer that decides the update.
        specs: Config groups and seed of the run.
        pairs: Pairs of every step.
    """

    model: RewardModel

    def __init__(self, model: RewardModel, regularizer: Regularizer, specs: TrainingSpecs, *, pairs: EncodedPairs) -> None:
        super().__init__(model, regularizer, specs)
        self.pairs = pairs

    def train_dataloader(self) -> StepNumbers:
        """Indices of the steps to come; the pairs of each are known."""
        return StepNumbers(self.trainer_spec.max_steps, taken=lambda: self.trainer.global_step)

    def training_step(self, batch: int, batch_index: int) -> None:
        """Take one optimizer step and log its metrics.

        Args:
            batch: Index of the step.
            batch_index: Not used.

        Raises:
            NonFiniteLossError: A pair's loss is NaN or infinite; nothing was updated.
            NonFiniteUpdateError: The update is NaN or infinite; nothing was updated.
        """
        pairs = self.pairs.step_pairs(int(batch))
        differences = pairs.differences.to(self.device)
        self.seed_step(pairs.step)
        rows = _step_rows(pairs, differences.device)
        margins = torch.empty(0)

        def accumulate(model: nn.Module, capture: GradientCapture) -> list[StepReport]:
            nonlocal margins
            assert isinstance(model, RewardModel)
            with capture.step(rows) as step:
                found = model.scores(differences)
                losses = bradley_terry_losses(found)
                self.require_finite(losses, pairs.step, lambda place: _name_of(pairs, place))
                step.backward(losses)
            margins = found.detach()
            return [step.report()]

        metrics = self.run_step(pairs.step, [rows], accumulate)
        for kind, of_kind in {"general": margins[: pairs.num_general], "target": margins[pairs.num_general :]}.items():
            if len(of_kind):
                metrics |= {f"train/{kind}_{name}": value for name, value in pair_figures(of_kind).items()}
        self.log_step(metrics, pairs.step, shown_loss=f"train/{'general' if pairs.num_general else 'target'}_loss/mean")


def _step_rows(pairs: PairBatch, device: torch.device) -> StepRows:
    n = pairs.num_general
    general = GeneralRows(
        base_weights=torch.full((n,), 1.0 / max(n, 1), dtype=torch.float32, device=device),
        example_ids=pairs.example_ids.to(device),
        step_index=pairs.step,
    )
    return StepRows(general=general, num_target=pairs.num_target)


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
    """Saves the trained reward model in the run's folder.

    Args:
        folder: Folder of the run.
        checkpoints: Folder of its checkpoints; where it has a best one, that one's head is written.
        max_length: Number of tokens of a text that the encoder reads.
    """

    def __init__(self, folder: Path, checkpoints: Path, *, max_length: int) -> None:
        self._folder = folder / REWARD_FOLDER
        self._best = checkpoints / BEST
        self._max_length = max_length

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save it; also where a resumed run had no step left to take."""
        model = pl_module.model
        if self._best.exists():
            load_trained(model, self._best)  # the last checkpoint is written: nothing goes on from here
        with torch.no_grad():
            center = float(model.scores(pl_module.pairs.middle.to(pl_module.device)[None])[0])
        save_reward_model(model.head, self._folder, max_length=self._max_length, center=center)
