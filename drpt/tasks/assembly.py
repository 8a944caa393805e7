"""What a task is given to put a run together, and what it gives to the trainer."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningDataModule
from torch import nn

from drpt.capture.regularizer import Regularizer
from drpt.data.pools import Pools
from drpt.data.source import Source
from drpt.journal import Journal
from drpt.models.chat_renderer import ChatStyle
from drpt.models.load import LoadedModel
from drpt.modules.checkpoint_files import ResumePoint
from drpt.modules.evaluation import Evaluation
from drpt.modules.regularized import RegularizedTraining, TrainingSpecs
from drpt.modules.rollout_tables import RolloutTables
from drpt.rewards.build import Rewards
from drpt.tasks.run_spec import RunSpec


@dataclass(kw_only=True)
class Assembly:
    """What a trainer is given."""

    module: RegularizedTraining
    data: LightningDataModule | None  # None: the module makes its own batches
    evaluation: Evaluation
    counts: dict[str, int]  # examples that were cut or left out, by reason
    recorders: Sequence[RolloutTables] = ()  # callbacks that write a part of each step
    callbacks: Sequence[Callback] = ()
    cleanup: ExitStack = field(default_factory=ExitStack)  # what must be closed in the end

    @property
    def journals(self) -> list[Journal]:
        """Files of the run's folder that the recorders write."""
        return [recorder.journal for recorder in self.recorders]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What every task puts a run together from."""

    spec: RunSpec
    source: Source
    pools: Pools
    style: ChatStyle  # the date and options that the chat template is told
    rewards: Rewards | None  # of tasks that draw responses
    loaded: LoadedModel
    model: nn.Module  # under its fine-tuning method
    regularizer: Regularizer
    folder: Path  # of the run
    checkpoints: Path  # its folder of checkpoints
    resume: ResumePoint

    @property
    def training_specs(self) -> TrainingSpecs:
        """Settings of the run that every training module needs."""
        spec = self.spec
        return TrainingSpecs(optimizer=spec.optimizer, trainer=spec.trainer, seed=spec.seed)

    @property
    def steps(self) -> dict[str, int]:
        """Optimizer steps of the whole run, and those taken before."""
        return {"num_steps": self.spec.trainer.max_steps, "resume_step": self.resume.step}

    @property
    def device(self) -> torch.device:
        """The device that the trainer will choose."""
        wants_gpu = self.spec.trainer.accelerator != "cpu" and torch.cuda.is_available()
        return torch.device("cuda" if wants_gpu else "cpu")
