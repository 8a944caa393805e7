"""When to measure on held-out examples: before the first step, every few steps and after the last."""

import math
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from drpt.data.example import Example
from drpt.data.module import PostTrainingData
from drpt.errors import NonFiniteError
from drpt.evaluation.held_out import answer_greedily, measure_accuracy, measure_loss
from drpt.evaluation.spec import EvaluationSpec
from drpt.interruption import protected
from drpt.memory import release_memory


class Evaluation(Callback):
    """Measures and logs held-out figures; the latest are kept for the progress bar and for checkpoints.

    A checkpoint knows after which step was measured last: where a run was stopped between a step and its evaluation, the
    evaluation is made up for.

    Args:
        spec: The `evaluation` config group.
        num_steps: Optimizer steps of the whole run.
        resume_step: Optimizer steps taken before, of a run that goes on.
    """

    def __init__(self, spec: EvaluationSpec, *, num_steps: int, resume_step: int = 0) -> None:
        self._every_steps = spec.every_steps
        self._num_steps = num_steps
        self._resume_step = resume_step
        self.evaluated_step: int | None = None  # the latest
        self.samples: list[dict[str, Any]] = []  # the latest answers: prompt, expected, answer, is_correct, …
        self.latest: dict[str, float] = {}

    @abstractmethod
    def measure(self, module: LightningModule) -> dict[str, float]:
        """Measure the model as it is now; also sets `samples`.

        Args:
            module: Module with the model.

        Returns:
            Figures by metric.
        """

    @property
    def stopping_loss(self) -> float | None:
        """The figure by which the best checkpoint is chosen (lower is better), on target examples kept out of training."""
        return self.latest.get("stopping/loss/mean")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure what is due after the last step; a trainer without a step left to take calls nothing later.

        The weights are those of the checkpoint already, the trainer's counters are not.
        """
        if self._resume_step and self.evaluated_step is None:  # a checkpoint that does not know was written afterwards
            self.evaluated_step = self._resume_step
        if self._resume_step == self._num_steps:
            self._measure_due(trainer, pl_module, self._num_steps)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the model as it was given, or what an interruption left out."""
        self._measure_due(trainer, pl_module, trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Measure every few steps and after the last."""
        self._measure_due(trainer, pl_module, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """The latest figures, and their step."""
        return {"step": self.evaluated_step, "latest": self.latest, "samples": self.samples}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the state of a checkpoint."""
        self.evaluated_step, self.latest = state_dict["step"], state_dict["latest"]
        self.samples = state_dict["samples"]

    def _measure_due(self, trainer: Trainer, pl_module: LightningModule, step: int) -> None:
        is_due = step % self._every_steps == 0 or step == self._num_steps
        if not is_due or step == self.evaluated_step:
            return
        start = time.perf_counter()
        try:
            metrics = self.measure(pl_module)
            _require_finite(metrics)
        except NonFiniteError as error:
            raise type(error)(f"evaluation after step {step}: {error}") from error
        metrics["evaluation/seconds/value"] = time.perf_counter() - start
        release_memory()  # what generation needed is not to be counted as the next steps' memory
        with protected():  # figures are written and known as written, or neither
            for logger in trainer.loggers:
                logger.log_metrics(metrics, step=step)
            self.latest, self.evaluated_step = metrics, step


def _require_finite(metrics: Mapping[str, float]) -> None:
    # A standard error over one example is NaN, and a perplexity beyond float64 infinite where the loss is a number.
    exempt = ("/stderr", "perplexity/mean")
    bad = [f"{name} = {value}" for name, value in metrics.items() if not math.isfinite(value) and not name.endswith(exempt)]
    if bad:
        raise NonFiniteError(
            f"{', '.join(bad)}. The model computes no numbers (any more): its weights have grown too large, or it gives "
            "tokens of the held-out examples a probability of 0. Checkpoints are as they were before. Lower optimizer.lr, "
            "set optimizer.clip_norm, or train with trainer.precision=32-true."
        )


class HeldOutEvaluation(Evaluation):
    """Loss and greedy accuracy: ``target/*`` of the evaluation examples, ``stopping/*`` of target examples not trained on.

    Args:
        data: Data module with the held-out examples.
        tokenizer: Tokenizer of transformers.
        is_correct: Verifier of the source of data.
        spec: The `evaluation` config group.
        num_steps: Optimizer steps of the whole run.
        resume_step: Optimizer steps taken before, of a run that goes on.
    """

    def __init__(
        self,
        data: PostTrainingData,
        tokenizer: Any,  # Any: transformers has no types
        is_correct: Callable[[Example, str], bool],
        spec: EvaluationSpec,
        *,
        num_steps: int,
        resume_step: int = 0,
    ) -> None:
        super().__init__(spec, num_steps=num_steps, resume_step=resume_step)
        self._data = data
        self._tokenizer = tokenizer
        self._is_correct = is_correct
        self._spec = spec

    def measure(self, module: LightningModule) -> dict[str, float]:
        """See `Evaluation.measure`."""
        metrics = {f"target/{name}": value for name, value in self._loss(module, "evaluation").items()}
        if self._data.stopping:
            metrics |= {f"stopping/{name}": value for name, value in self._loss(module, "stopping").items()}
        asked = self._data.evaluation[: self._spec.num_generate]
        if asked:
            metrics |= {f"target/{name}": value for name, value in self._accuracy(module, asked).items()}
        return metrics

    def _loss(self, module: LightningModule, pool: str) -> dict[str, float]:
        return measure_loss(
            module.model,
            getattr(self._data, pool),
            pad_token_id=self._data.pad_token_id,
            batch_rows=self._spec.batch_rows,
            device=module.device,
        )

    def _accuracy(self, module: LightningModule, asked: list[Any]) -> dict[str, float]:
        answers = answer_greedily(
            module.model,
            self._tokenizer,
            asked,
            batch_rows=self._spec.batch_rows,
            max_new_tokens=self._spec.max_new_tokens,
            device=module.device,
        )
        self.samples = [
            {
                "prompt": row.example.prompt[-1].content,
                "expected": row.example.response,
                "answer": answer,
                "is_correct": self._is_correct(row.example, answer),
            }
            for row, answer in zip(asked, answers, strict=True)
        ]
        return measure_accuracy(asked, answers, self._is_correct)
