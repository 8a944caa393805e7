"""Reinforcement learning on a policy's own responses under a regularizer, whatever the algorithm."""

import hashlib
from collections.abc import Sequence
from functools import partial, reduce
from operator import add
from typing import Any

import torch
from torch import Tensor, nn

from drpt.capture.capture import GradientCapture
from drpt.capture.options import ChoiceScope
from drpt.capture.passes.report import StepReport
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
from drpt.modules.regularized import RegularizedTraining, TrainingSpecs
from drpt.rl.algorithm import Algorithm
from drpt.rl.batches import minibatches, token_batch
from drpt.rl.normalisation import RowWeights
from drpt.rl.phase import Phase, RolloutPhases
from drpt.rl.phase_choice import PhaseChoice
from drpt.rl.phase_metrics import total_costs, update_metrics
from drpt.rl.phase_progress import PhaseProgress, plain_state, progress_of
from drpt.rl.phases_in_vain import BegunPhase, begin_until_signal
from drpt.rl.policy_statistics import PolicyStatistics

Statistics = dict[tuple[int, int], PolicyStatistics]  # by choice and micro-batch


class PolicyTraining(RegularizedTraining):
    """Rollout phases, each followed by optimizer steps over minibatches of its trajectories.

    General rows are responses to general prompts with the policy loss of each. The target gradient is that of an objective
    over responses to target prompts, or over the same ones; it is computed anew every few steps. A value head has a learning
    rate of its own and the ordinary general gradient.

    Args:
        model: Causal language model without dropout, perhaps with a value head; its trained parameters require gradients.
        regularizer: Regularizer that decides the update.
        specs: Config groups and seed of the run.
        phases: Rollout phases.
        algorithm: Loss of the trajectories, and what ends a phase early.
        general_rows: Number of trajectories of an optimizer step.
        phase_choice: Choice of the trajectories of a phase that are trained on; all of them if left out.
    """

    def __init__(
        self,
        model: nn.Module,
        regularizer: Regularizer,
        specs: TrainingSpecs,
        *,
        phases: RolloutPhases,
        algorithm: Algorithm,
        general_rows: int,
        phase_choice: PhaseChoice | None = None,
    ) -> None:
        super().__init__(model, regularizer, specs)
        self.phases = phases
        self.algorithm = algorithm
        self.latest: Phase | None = None  # with its samples and outcomes, for tables
        self._general_rows = general_rows
        self._phase_choice = phase_choice
        self._progress = PhaseProgress()
        self._costs: dict[str, dict[str, float]] = {}  # of what was computed before an update, until its step reports it

    def train_dataloader(self) -> StepNumbers:
        """Indices of the steps: the policy makes its own batches."""
        return StepNumbers(self.trainer_spec.max_steps, taken=lambda: self.trainer.global_step)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The trained parameters of the language model, and apart from them those of the value head."""
        if not isinstance(self.model, PolicyWithValues):
            return super().parameter_groups()
        trunk = [parameter for parameter in self.model.policy.parameters() if parameter.requires_grad]
        return [{"params": trunk}, {"params": list(self.model.value_head.parameters()), "lr": self.algorithm.value_lr}]

    def on_fit_start(self) -> None:
        """Move the reference model to the policy's device."""
        super().on_fit_start()
        self.phases.follow(self.model)

    def training_step(self, batch: int, batch_index: int) -> None:
        """Take one optimizer step, after a rollout phase where the last one is used up.

        Args:
            batch: Index of the step.
            batch_index: Not used.

        Raises:
            NonFiniteLossError: A response's loss is NaN or infinite; nothing was updated.
            NonFiniteUpdateError: The update or the target gradient is NaN or infinite; nothing was updated.
            NonFiniteRewardError: A reward is NaN or infinite; nothing was updated.
            NoSignalError: No response has anything to teach.
            StaleWeightsError: The engine does not compute what the trainer computes.
        """
        step_index = int(batch)
        self.seed_step(step_index)
        metrics = begin_until_signal(lambda: self._begin_phase(step_index)) if self._progress.is_used_up else {}
        progress, loss = self._progress, self.algorithm.loss
        of_target = None
        if self.regularizer.needs_target and progress.is_target_due(loss.target_refresh_steps):
            with self.cost.step():
                progress.target_grad, of_target = self._compute_target(step_index)
            self._costs["target"] = self.cost.metrics
        rows = progress.minibatch
        weights = loss.weights([progress.general[row] for row in rows])
        choices = self._choices(rows, weights, step_index)
        statistics: Statistics = {}

        def accumulate(model: nn.Module, capture: GradientCapture) -> list[StepReport]:
            statistics.clear()
            return self._accumulate(model, capture, choices, weights.scale, statistics, step_index)

        metrics |= self.run_step(step_index, [choice.rows for choice in choices], accumulate)
        # A policy that is trained on target responses alone has the statistics of these.
        total = reduce(add, statistics.values()) if statistics else of_target
        metrics |= total_costs(self.cost.metrics, self._costs) | update_metrics(total)
        self._costs = {}
        metrics["train/staleness/value"] = float(step_index - progress.first_step)  # updates since the responses were drawn
        metrics["train/phase/value"] = float(progress.phase_index)
        progress.position += 1
        if total is not None and self.algorithm.ends_phase(total):
            metrics["train/skipped_steps/value"] = float(progress.skip_rest())
        self.log_step(metrics, step_index)

    def state_between_steps(self) -> dict[str, Any]:
        """State with the phase in progress, whose responses come from weights that are gone."""
        state = self._progress.state(self.algorithm.loss.target_refresh_steps)
        return super().state_between_steps() | {"rollouts": state | {"appraisal": self.phases.estimator.state_dict()}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the phase in progress, in plain values."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["rollouts"] = plain_state(checkpoint["rollouts"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on in the middle of a phase; the checkpoint of a finished run has none.

        Raises:
            ValueError: Trained parameters are missing from the checkpoint.
        """
        if state := checkpoint.get("rollouts"):
            self._progress = progress_of(state)
            self.phases.estimator.load_state_dict(state["appraisal"])
        super().on_load_checkpoint(checkpoint)

    def _begin_phase(self, step_index: int) -> BegunPhase:
        """Run a phase, and cut it into minibatches."""
        phase_index = self._progress.phase_index + 1
        self._progress.phase_index = phase_index
        try:
            phase = self.phases.run(phase_index, self.model)
            release_memory()  # what generation needed is not to be counted as the steps' memory
            self.latest = phase
            self._progress = PhaseProgress(
                phase_index=phase_index, general=phase.general, target=phase.target, first_step=step_index
            )
            metrics = phase.metrics | self._cut_into_minibatches(step_index)
        except NonFiniteError as error:
            raise type(error)(f"step {step_index + 1}, phase {phase_index}: {error}") from error
        return BegunPhase(metrics=metrics, num_general=len(phase.general), num_steps=len(self._progress.minibatches))

    def _cut_into_minibatches(self, step_index: int) -> dict[str, float]:
        """Fill in the phase's minibatches; figures of the choice, where there is one."""
        progress, epochs = self._progress, self.algorithm.loss.epochs
        if not self.regularizer.needs_general:  # as many steps as with general trajectories
            progress.minibatches = [[] for _ in range(epochs * self.phases.num_responses // self._general_rows)]
            return {}
        rows, metrics = list(range(len(progress.general))), {}
        if self._phase_choice is not None and rows:
            kept = self._choose_rows(self._phase_choice, rows, step_index)
            metrics = {"train/phase_kept_share/mean": len(kept) / len(rows)}
            rows = kept
        digest = hashlib.sha256(f"{self.seed}-minibatches-{progress.phase_index}".encode()).digest()
        seed = int.from_bytes(digest[:4], "big")
        progress.minibatches = minibatches(rows, batch_rows=self._general_rows, epochs=epochs, seed=seed)
        return metrics

    def _choose_rows(self, phase_choice: PhaseChoice, rows: list[int], step_index: int) -> list[int]:
        """Indices of the phase's trajectories that are trained on."""
        general = self._progress.general
        with self.cost.step():
            target_grad = self._compute_target(step_index)[0] if phase_choice.needs_target else None
            batch = self._step_batch(rows, self._progress.phase_index, micro_batches=-(-len(rows) // self._micro_batch_rows))
            weights = self.algorithm.loss.weights([general[row] for row in rows])
            (choice,) = choices_of_step(batch, ChoiceScope.STEP, weights.base_weights.float().to(self.device))

            def losses(micro_batch: TokenBatch) -> Tensor:
                some = [general[rows[place]] for place in micro_batch.examples]
                return self.algorithm.loss(self.model, some, micro_batch)[0]

            kept = phase_choice(choice.rows, choice.micro_batches, target_grad, losses)
        self._costs["phase_choice"] = self.cost.metrics
        return [rows[place] for place in kept]

    def _compute_target(self, step_index: int) -> tuple[TargetGradient, PolicyStatistics]:
        trajectories = self._progress.target_trajectories
        is_alone = not self.regularizer.needs_general
        found: list[PolicyStatistics] = []

        def backward() -> None:
            loss = self.algorithm.loss
            found.append(loss.backward_target(self.model, trajectories, batch_rows=self._micro_batch_rows, is_scaled=is_alone))

        target = self.capture.target_gradient(backward)
        bad = [name for name, grad in target.grads.items() if not bool(torch.isfinite(grad).all())]
        if bad:
            raise NonFiniteUpdateError(
                f"step {step_index + 1}: the target gradient is NaN or infinite in {len(bad)} of {len(target.grads)} "
                f"parameters, {bad[0]} first, over {len(trajectories)} responses (algorithm.target.objective). Nothing was "
                f"updated. Lower optimizer.lr (now {self.optimizer_spec.lr:g}), set optimizer.clip_norm, or train with "
                "trainer.precision=32-true."
            )
        return target, found[0]

    @property
    def _micro_batch_rows(self) -> int:
        """Rows of a forward and backward pass."""
        return -(-self._general_rows // self.trainer_spec.micro_batches)

    def _choices(self, rows: list[int], weights: RowWeights, step_index: int) -> list[Choice]:
        """The choices of a minibatch; none of a regularizer that looks at the target gradient alone."""
        if not rows:
            return []
        batch = self._step_batch(rows, step_index, micro_batches=self.trainer_spec.micro_batches)
        return choices_of_step(batch, self.regularizer.options.choice_scope, weights.base_weights.float().to(self.device))

    def _accumulate(
        self,
        model: nn.Module,
        capture: GradientCapture,
        choices: Sequence[Choice],
        scale: float,
        statistics: Statistics,
        step_index: int,
    ) -> list[StepReport]:
        """Leave the regularized update of a minibatch in ``.grad``, and fill in the statistics of its responses."""
        if not choices:
            return [self._update_without_trajectories(capture, step_index)]
        general, phase_index = self._progress.general, self._progress.phase_index

        def losses(choice_index: int, micro_batch_index: int, micro_batch: TokenBatch) -> Tensor:
            rows = choices[choice_index].rows.general.example_ids[micro_batch.examples].tolist()
            found, of_micro_batch = self.algorithm.loss(model, [general[row] for row in rows], micro_batch)
            self.require_finite(found, step_index, lambda index: f"response {rows[index]} of phase {phase_index}")
            statistics[choice_index, micro_batch_index] = of_micro_batch  # a second pass computes the same again
            return found

        target = self._progress.target_grad
        return [
            choice.accumulate(capture, partial(losses, choice_index), scale=scale, target=target)
            for choice_index, choice in enumerate(choices)
        ]

    def _update_without_trajectories(self, capture: GradientCapture, step_index: int) -> StepReport:
        """The update of a regularizer that looks at the target gradient alone."""
        nothing = torch.zeros(0)
        rows = GeneralRows(base_weights=nothing, example_ids=nothing.long(), step_index=step_index)
        opened = capture.step(StepRows(general=rows, num_target=0), micro_batches=(), target=self._progress.target_grad)
        with opened as step:
            step.finish()
        return step.report()

    def _step_batch(self, rows: list[int], step_index: int, *, micro_batches: int) -> StepBatch:
        split = StepSplit(
            num_micro_batches=micro_batches, is_mixed=self.regularizer.options.choice_scope is not ChoiceScope.STEP
        )
        places = split.divide(num_general=len(rows), num_target=0)
        some = [self._progress.general[row] for row in rows]
        pad_token_id = self.algorithm.loss.pad_token_id
        return StepBatch(
            micro_batches=[token_batch([some[i] for i in own], pad_token_id=pad_token_id, examples=own) for own in places],
            example_ids=torch.tensor(rows, dtype=torch.long),
            loss_tokens=torch.tensor([one.num_tokens for one in some], dtype=torch.long),
            num_target=0,
            step=step_index,
        ).to(self.device)


def unregularized(model: nn.Module) -> tuple[str, ...]:
    """Patterns of parameters that get the ordinary general gradient: a value head's, which general data do not regularize."""
    return (f"{VALUE_HEAD}.*",) if isinstance(model, PolicyWithValues) else ()
