"""The whole configuration of a run: one typed section for each config group, checked before anything heavy is imported.

Each section checks its own values; what binds sections together, `drpt.tasks.rules` checks.
"""

from dataclasses import dataclass

from drpt.capture.products.sketch_spec import SketchSpec
from drpt.checks import check_choice, check_interval
from drpt.data.spec import DataSpec
from drpt.evaluation.spec import EvaluationSpec
from drpt.models.spec import FinetuneSpec, ModelSpec
from drpt.modules.regularizer_spec import RegularizerSpec
from drpt.modules.spec import TrainerSpec
from drpt.optim.spec import OptimizerSpec
from drpt.rewards.spec import RewardSpec
from drpt.rl.algorithm_spec import AlgorithmSpec
from drpt.rollouts.spec import RolloutSpec
from drpt.tasks.spec import TaskSpec

LOGGERS = {"wandb": "Weights & Biases, besides the run's folder", "off": "the run's folder alone"}
WANDB_MODES = {
    "auto": "online when logged in, else offline",
    "online": "needs a login",
    "offline": "written beside the run, to be sent with `wandb sync`",
}


@dataclass(kw_only=True)
class LoggerSpec:
    """Where metrics go besides the run's own folder."""

    name: str  # a key of LOGGERS
    mode: str  # a key of WANDB_MODES
    project: str  # of W&B
    entity: str | None  # of W&B; null = the user's default

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        check_choice("logger.name", self.name, LOGGERS)
        check_choice("logger.mode", self.mode, WANDB_MODES)


@dataclass(kw_only=True)
class RunSpec:
    """One run."""

    sweep: str  # folder of results under `runs_folder`, by default the time of the command; its runs are compared
    runs_folder: str  # where sweeps are; ~ is the user's home
    seed: int  # draws target examples, order of examples, adapters, dropout
    task: TaskSpec
    model: ModelSpec
    finetune: FinetuneSpec
    data: DataSpec
    regularizer: RegularizerSpec
    sketch: SketchSpec  # counts where regularizer.products is sketch
    optimizer: OptimizerSpec
    trainer: TrainerSpec
    evaluation: EvaluationSpec
    logger: LoggerSpec
    algorithm: AlgorithmSpec | None = None  # this group and the next two are for tasks that draw responses
    rollout: RolloutSpec | None = None
    reward: RewardSpec | None = None

    @property
    def stopping_share(self) -> float:
        """Share of the target examples that is held out of training to choose when to stop; 0 for none."""
        return self.regularizer.stopping_share

    def __post_init__(self) -> None:
        """Check the values that are in no section.

        Raises:
            ValueError: A value breaks its rule.
        """
        check_interval("seed", self.seed, low=0, high=2**31 - 1, meaning="the run's seed")
        if not self.sweep or "/" in self.sweep or self.sweep.startswith("."):
            raise ValueError(f"sweep={self.sweep!r} must be a folder's name: no slash, no leading dot, not empty.")
