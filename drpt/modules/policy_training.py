"""What reinforcement learning on a policy's own responses has in common, whatever the algorithm, under a regularizer."""

import hashlib
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor, nn

from drpt.capture.capture import GradientCapture
from drpt.capture.diagnostics import StepReport
from drpt.capture.options import Pool
from drpt.capture.regularizer import Regularizer
from drpt.capture.rows import StepRows
from drpt.capture.target import TargetGradient
from drpt.data.batch import StepBatch, TokenBatch
from drpt.data.prompts import StepNumbers
from drpt.data.split import StepSplit
from drpt.errors import NonFiniteError, NonFiniteUpdateError
from drpt.geometry.products import GeneralRows
from drpt.memory import release_memory
from drpt.models.value_head import VALUE_HEAD, PolicyWithValues
from drpt.modules.choices import Choice, choices_of_step
from drpt.modules.experience import Experience, minibatches
from drpt.modules.phase_choice import PhaseChoice
from drpt.modules.policy_loss import PolicyLoss
from drpt.modules.regularized import RegularizedTraining
from drpt.modules.rollout_phase import NoSignalError, Phase, RolloutWorker
from drpt.modules.spec import TrainerSpec
from drpt.objectives.normalisation import RowWeights
from drpt.objectives.policy_statistics import PolicyStatistics
from drpt.optim.spec import OptimizerSpec

_PHASES_IN_VAIN = 8  # without a response to train on, before a run gives up


class PolicyTraining(RegularizedTraining):
    """Rollout phases, each followed by optimizer steps over minibatches of its responses.

    General rows are responses to general prompts with the policy loss of each; the target gradient is that of an objective
    over responses to target prompts, or over the same ones, computed anew every few steps.

    Args:
        model: Causal language model without dropout, perhaps with a value head; its trained parameters require gradients.
        regularizer: What decides the update.
        optimizer: The `optimizer` config group.
        trainer: The `trainer` config group.
        worker: Makes the phases.
        loss: Of the responses.
        general_rows: Responses a step.
        phase_choice: Which responses of a phase are trained on at all; all of them if left out.
        seed: Of the order of responses.
    """

    def __init__(
        self,
        model: nn.Module,
        regularizer: Regularizer,
        optimizer: OptimizerSpec,
        trainer: TrainerSpec,
        *,
        worker: RolloutWorker,
        loss: PolicyLoss,
        general_rows: int,
        phase_choice: PhaseChoice | None = None,
        seed: int,
    ) -> None:
        super().__init__(model, regularizer, optimizer, trainer, seed=seed)
        self.worker = worker
        self.loss = loss
        self.latest: Phase | None = None  # with its samples and outcomes, for tables
        self._general_rows = general_rows
        self._phase_choice = phase_choice
        self._phase = -1  # its number
        self._general, self._target = Experience(), Experience()
        self._batches: list[list[int]] = []  # rows of each step of the phase
        self._place = 0  # among them
        self._first_step = 0  # of the phase: how stale its responses are counts from there
        self._target_grad: TargetGradient | None = None
        self._phase_costs: dict[str, dict[str, float]] = {}  # of what was done once for the phase, until a step reports it

    def train_dataloader(self) -> StepNumbers:
        """The policy makes its own batches; the loop is fed with numbers."""
        return StepNumbers(self.trainer_spec.max_steps, taken=lambda: self.trainer.global_step)

    def on_fit_start(self) -> None:
        """Move what Lightning does not know of to its device."""
        super().on_fit_start()
        self.worker.follow(self.model)

    def training_step(self, batch: int, batch_index: int) -> None:
        """Take one optimizer step, after a rollout phase where the last one is used up.

        Args:
            batch: Number of the step.
            batch_index: Unused.

        Raises:
            NonFiniteLossError: A response's loss is NaN or infinite; nothing was updated.
            NonFiniteUpdateError: The update, or the target gradient, is; nothing was updated.
            NonFiniteRewardError: What the reward says of a response is; nothing was updated.
            NoSignalError: No response has anything to teach.
            StaleWeightsError: The engine does not compute what the trainer computes.
        """
        step = int(batch)
        self.seed_step(step)
        metrics: dict[str, float] = {}
        if self._place == len(self._batches):
            metrics |= self._next_phase(step)
        rows = self._batches[self._place]
        costs, self._phase_costs = self._phase_costs, {}
        of_target: list[PolicyStatistics | None] = []
        if self.regularizer.needs_target and self._place % self.loss.target_refresh_steps == 0:
            with self.cost.step():
                self._target_grad, found = self._compute_target(step)
            costs["target"] = self.cost.metrics
            of_target = [found]
        weights = self.loss.weights([self._general.num_tokens[row] for row in rows])
        choices = self._choices(rows, weights, step)
        # No part of what a step costs.
        exact = self.exact_reports(step, lambda model, capture: self._choose(model, capture, choices, weights.scale, [], step))
        statistics: list[PolicyStatistics | None] = []  # one a batch
        with self.cost.step():
            self.optimizers().zero_grad(set_to_none=True)
            reports = self._choose(self.model, self.capture, choices, weights.scale, statistics, step)
            metrics |= self.take_step(reports, step)
        if exact and self.meter is not None:
            metrics |= self.meter.compare([choice.rows for choice in choices], reports, exact).metrics()
        total = _total(statistics or of_target)  # a policy that is trained on target responses alone has figures of these
        metrics |= _joined_costs(self.cost.metrics, costs) | _figures(total)
        metrics["train/staleness/value"] = float(step - self._first_step)  # updates since the responses were drawn
        metrics["train/phase/value"] = float(self._phase)
        self._place += 1
        if total is not None and self.ends_phase(total):
            metrics["train/skipped_steps/value"] = float(len(self._batches) - self._place)
            del self._batches[self._place :]
        self.log_step(metrics, step)

    def ends_phase(self, statistics: PolicyStatistics) -> bool:
        """Whether the rest of a phase is left out after a step, of whose responses these are the figures before its update."""
        return False

    def state_between_steps(self) -> dict[str, Any]:
        """The phase in progress, too: its responses come from weights that are gone."""
        target_grad = None
        if self._target_grad is not None and self._place % self.loss.target_refresh_steps:
            target_grad = self._target_grad.state_dict()
        return super().state_between_steps() | {
            "rollouts": {
                "phase": self._phase,
                "place": self._place,
                "first_step": self._first_step,
                "batches": self._batches,
                "general": self._general,  # made plain when a checkpoint is written
                "target": self._target,
                "target_grad": target_grad,
                "appraisal": self.worker.appraisal.state_dict(),
            }
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the phase in progress, in plain values."""
        super().on_save_checkpoint(checkpoint)
        state = checkpoint["rollouts"]
        checkpoint["rollouts"] = state | {name: state[name].state_dict() for name in ("general", "target")}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on in the middle of a phase; the checkpoint of a finished run has none.

        Raises:
            ValueError: Trained parameters are missing from the checkpoint.
        """
        if state := checkpoint.get("rollouts"):
            self._phase, self._place, self._first_step = state["phase"], state["place"], state["first_step"]
            self._batches = state["batches"]
            self._general, self._target = Experience(**state["general"]), Experience(**state["target"])
            self._target_grad = None if state["target_grad"] is None else TargetGradient(state["target_grad"])
            self.worker.appraisal.load_state_dict(state["appraisal"])
        super().on_load_checkpoint(checkpoint)

    def _next_phase(self, step: int) -> dict[str, float]:
        """Phases until one leaves something to train on."""
        seconds, num_alike = 0.0, 0
        for number in range(_PHASES_IN_VAIN):
            try:
                metrics = self._begin_phase(step)
            except NonFiniteError as error:
                raise type(error)(f"step {step + 1}, phase {self._phase}: {error}") from error
            seconds += metrics["rollout/seconds/value"]
            if self._batches:
                in_vain = {"train/phases_in_vain/value": float(number)} if number else {}
                return metrics | in_vain | {"rollout/seconds/value": seconds}
            num_alike += not len(self._general)
        raise NoSignalError(_why_in_vain(num_alike))

    def _begin_phase(self, step: int) -> dict[str, float]:
        self._phase += 1
        phase = self.worker.run_phase(self._phase, self.model, self.device)
        release_memory()  # what generation needed is not to be counted as the steps' memory
        self.latest = phase
        self._general, self._target = phase.general, phase.target
        rows = list(range(len(phase.general))) if self.regularizer.needs_general else []
        metrics = dict(phase.metrics)
        if self._phase_choice is not None and rows:
            rows, figures = self._choose_rows(self._phase_choice, rows, step)
            metrics |= figures
        digest = hashlib.sha256(f"{self.seed}-minibatches-{self._phase}".encode()).digest()
        self._batches = minibatches(
            rows,
            batch_rows=self._general_rows,
            epochs=self.loss.epochs,
            seed=int.from_bytes(digest[:4], "big"),
        )
        if not self.regularizer.needs_general:  # as many steps as others take
            self._batches = [[] for _ in range(self.loss.epochs * self.worker.num_responses // self._general_rows)]
        self._place, self._first_step = 0, step
        return metrics

    def _choose_rows(self, choice: PhaseChoice, rows: list[int], step: int) -> tuple[list[int], dict[str, float]]:
        """Those of a phase's responses that are trained on, and what choosing them cost and kept."""
        with self.cost.step():
            target_grad = self._compute_target(step)[0] if choice.needs_target else None
            batch = self._step_batch(rows, self._phase, micro_batches=-(-len(rows) // self._chunk_rows))
            weights = self.loss.weights([self._general.num_tokens[row] for row in rows])
            kept = choice(
                self.model,
                batch,
                weights.base_weights.float().to(self.device),
                target_grad,
                lambda model, part: self.loss(model, self._general, [rows[i] for i in part.examples], part)[0],
            )
        self._phase_costs["phase_choice"] = self.cost.metrics
        return [rows[place] for place in kept], {"train/phase_kept_share/mean": len(kept) / len(rows)}

    def _compute_target(self, step: int) -> tuple[TargetGradient, PolicyStatistics]:
        experience = self._target if len(self._target) else self._general
        is_alone = not self.regularizer.needs_general
        found: list[PolicyStatistics] = []

        def backward() -> None:
            found.append(self.loss.backward_target(self.model, experience, batch_rows=self._chunk_rows, is_scaled=is_alone))

        target = self.capture.target_gradient(backward)
        bad = [name for name, grad in target.grads.items() if not bool(torch.isfinite(grad).all())]
        if bad:
            raise NonFiniteUpdateError(
                f"step {step + 1}: the target gradient is NaN or infinite in {len(bad)} of {len(target.grads)} parameters, "
                f"{bad[0]} first, over {len(experience)} responses (algorithm.target.objective). Nothing was updated. Lower "
                f"optimizer.lr (now {self.optimizer_spec.lr:g}), set optimizer.clip_norm, or train with "
                "trainer.precision=32-true."
            )
        return target, found[0]

    @property
    def _chunk_rows(self) -> int:
        """Rows of a forward and backward pass."""
        return -(-self._general_rows // self.trainer_spec.micro_batches)

    def _choices(self, rows: list[int], weights: RowWeights, step: int) -> list[Choice]:
        """Of a minibatch; none of a regularizer that looks at the target gradient alone."""
        if not rows:
            return []
        batch = self._step_batch(rows, step)
        return choices_of_step(batch, self.regularizer.options.pool, weights.base_weights.float().to(self.device))

    def _choose(
        self,
        model: nn.Module,
        capture: GradientCapture,
        choices: list[Choice],
        scale: float,
        statistics: list[PolicyStatistics | None],
        step: int,
    ) -> list[StepReport]:
        """Leave the regularized update of a minibatch in ``.grad``."""
        if not choices:
            return [self._update_without_responses(step)]
        return [self._backward(model, capture, choice, scale, statistics, step) for choice in choices]

    def _backward(
        self,
        model: nn.Module,
        capture: GradientCapture,
        choice: Choice,
        scale: float,
        statistics: list[PolicyStatistics | None],
        step_number: int,
    ) -> StepReport:
        """One choice's share of the update, batch by batch."""
        opened = capture.step(
            choice.rows,
            examples=(),
            num_parts=len(choice.parts),
            scale=choice.scale * scale,
            target=self._target_grad,
        )
        with opened as step:
            for part in choice.parts:
                step.part(example_of_token=part.example_of_token)
                step.backward(self._losses_of(model, part, choice, statistics, step_number))
        return step.report()

    def _update_without_responses(self, step: int) -> StepReport:
        """Of a regularizer that looks at the target gradient alone."""
        nothing = torch.zeros(0)
        rows = GeneralRows(base_weights=nothing, example_ids=nothing.long(), draw=step)
        with self.capture.step(StepRows(general=rows, num_target=0), num_parts=0, target=self._target_grad) as opened:
            opened.finish()
        return opened.report()

    def _losses_of(
        self, model: nn.Module, part: TokenBatch, choice: Choice, statistics: list[PolicyStatistics | None], step: int
    ) -> Callable[[], Tensor]:
        rows = choice.rows.general.example_ids[part.examples].tolist()
        place = len(statistics)
        statistics.append(None)

        def compute() -> Tensor:
            losses, found = self.loss(model, self._general, rows, part)
            self.require_finite(losses, step, lambda place: f"response {rows[place]} of phase {self._phase}")
            statistics[place] = found  # a second pass says the same again
            return losses

        return compute

    def _step_batch(self, rows: list[int], step: int, *, micro_batches: int | None = None) -> StepBatch:
        split = StepSplit(
            micro_batches=self.trainer_spec.micro_batches if micro_batches is None else micro_batches,
            is_mixed=self.regularizer.options.pool is not Pool.STEP,
        )
        parts = split.parts(num_general=len(rows), num_target=0)
        tokens = [
            self._general.tokens([rows[i] for i in part], pad_token_id=self.loss.pad_token_id, places=part) for part in parts
        ]
        return StepBatch(
            parts=tokens,
            example_ids=torch.tensor(rows, dtype=torch.long),
            loss_tokens=torch.tensor([self._general.num_tokens[row] for row in rows], dtype=torch.long),
            num_target=0,
            step=step,
        ).to(self.device)


def unregularized(model: nn.Module) -> tuple[str, ...]:
    """Patterns of parameters that get the ordinary general gradient: a value head's, which general data do not regularize."""
    return (f"{VALUE_HEAD}.*",) if isinstance(model, PolicyWithValues) else ()


def _why_in_vain(num_alike: int) -> str:
    alike = (
        f"in {num_alike} of {_PHASES_IN_VAIN} phases in a row all rewards of every group were alike, so that "
        "algorithm.zero_variance left nothing to learn from. Take easier or harder prompts, more responses "
        "(rollout.num_responses), a reward with partial credit, or algorithm.zero_variance=keep."
    )
    dropped = (
        f"in {_PHASES_IN_VAIN - num_alike} of {_PHASES_IN_VAIN} phases in a row every response pointed against the target "
        "gradient and was dropped. Take a larger regularizer.strength (the share of such responses that is kept), or another "
        "regularizer."
    )
    return " ".join([*([alike] if num_alike else []), *([dropped] if num_alike < _PHASES_IN_VAIN else [])])


def _total(statistics: Sequence[PolicyStatistics | None]) -> PolicyStatistics | None:
    known = [found for found in statistics if found is not None]
    return reduce(add, known) if known else None


def _figures(total: PolicyStatistics | None) -> dict[str, float]:
    if total is None:
        return {}
    names = {"kl_reference": "kl"}
    metrics = {f"train/{names.get(name, name)}/mean": value for name, value in total.means().items()}
    metrics["train/clip_fraction/mean"] = metrics["train/clipped_low/mean"] + metrics["train/clipped_high/mean"]
    metrics["train/tokens/sum"] = float(total.num_tokens)
    return metrics


def _joined_costs(of_update: dict[str, float], others: dict[str, dict[str, float]]) -> dict[str, float]:
    """A step's cost: seconds of what was computed before the update (v, a phase's choice) are part of it, and told apart."""
    seconds, memory = "train/step_seconds/value", "train/peak_memory_bytes/value"
    all_costs = [of_update, *others.values()]
    joined = of_update | {f"train/{name}_seconds/value": costs[seconds] for name, costs in others.items()}
    joined[seconds] = sum(costs[seconds] for costs in all_costs)
    peaks = [costs[memory] for costs in all_costs if memory in costs]
    return joined | ({memory: max(peaks)} if peaks else {})
