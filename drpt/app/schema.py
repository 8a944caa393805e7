"""The whole configuration of a run: one typed section a config group, checked before anything heavy is imported."""

from dataclasses import dataclass

from drpt.app.reward_rules import check_reward_modeling
from drpt.app.rollout_rules import check_rollout_sections, check_rollouts
from drpt.capture.options import Pool
from drpt.capture.sketch_spec import SketchSpec
from drpt.checks import check_choice, check_interval
from drpt.data.spec import DataSpec
from drpt.evaluation.spec import EvaluationSpec
from drpt.models.spec import FinetuneSpec, ModelSpec
from drpt.modules.algorithm_spec import AlgorithmSpec
from drpt.modules.regularizer_spec import RegularizerSpec
from drpt.modules.spec import TaskSpec, TrainerSpec
from drpt.optim.spec import OptimizerSpec
from drpt.rewards.spec import RewardSpec
from drpt.rollouts.spec import RolloutSpec

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

    sweep: str  # folder of results under `runs_folder`; runs of one sweep are compared with each other
    runs_folder: str
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
    algorithm: AlgorithmSpec | None = None  # these three of tasks that draw responses
    rollout: RolloutSpec | None = None
    reward: RewardSpec | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        check_interval("seed", self.seed, low=0, high=2**31 - 1, meaning="the run's seed")
        if not self.sweep or "/" in self.sweep or self.sweep.startswith("."):
            raise ValueError(f"sweep={self.sweep!r} must be a folder's name: no slash, no leading dot, not empty.")
        check_rollout_sections(self)
        if self.task.draws_responses:
            check_rollouts(self)
        check_reward_modeling(self)
        self._check_stopping()
        self._check_rows()
        self._check_micro_batches()
        if self.evaluation.num_generate > self.data.num_eval:
            raise ValueError(
                f"evaluation.num_generate={self.evaluation.num_generate} must be at most data.num_eval={self.data.num_eval}: "
                "accuracy is measured on the held-out examples."
            )

    @property
    def stopping_share(self) -> float:
        """Share of the target examples that is held out of training to choose when to stop; 0 for none."""
        return self.regularizer.stopping_share

    def _check_stopping(self) -> None:
        share, num_target, rows = self.stopping_share, self.data.num_target, self.data.target_rows
        num_stopping = round(share * num_target)
        if share > 0 and not 1 <= num_stopping <= num_target - rows:
            raise ValueError(
                f"regularizer.stopping_share={share} of data.num_target={num_target} holds out {num_stopping} examples; it "
                f"must leave at least data.target_rows={rows} to train on and hold out at least one."
            )

    def _check_micro_batches(self) -> None:
        count = self.trainer.micro_batches
        rows = {"data.general_rows": self.data.general_rows}
        if not self.task.draws_responses:  # else the target gradient is given, and no target example is in a batch
            rows["data.target_rows"] = self.data.target_rows
        if self.regularizer.pool == Pool.MICRO.value:
            for option, value in rows.items():
                if value % count:
                    raise ValueError(
                        f"{option}={value} must split into whole micro-batches of trainer.micro_batches={count} with "
                        "regularizer.pool=micro, each of which chooses among its own; change one, or take pool=step."
                    )
        elif count > sum(rows.values()):
            raise ValueError(f"trainer.micro_batches={count} is more than the step's {sum(rows.values())} examples.")

    def _check_rows(self) -> None:
        n, m = self.data.general_rows, self.data.target_rows
        # Of tasks that draw responses, rows are responses, of which a prompt has several.
        if not self.task.draws_responses and self.data.num_general is not None and n > self.data.num_general:
            raise ValueError(
                f"data.general_rows={n} must be at most data.num_general={self.data.num_general}: a step takes each general "
                "example once."
            )
        if self.regularizer.is_auto and m < 2:
            raise ValueError(
                f"data.target_rows={m}: an automatic dial of the regularizer looks at the spread among a step's target "
                "examples and needs at least 2."
            )
        entry = self.regularizer.entry
        if entry is not None and entry.max_general is not None and n > entry.max_general:
            raise ValueError(
                f"data.general_rows={n}: the set {self.regularizer.set!r} takes at most {entry.max_general} general examples a "
                "step; greedy_euclidean and hull have no such limit."
            )
