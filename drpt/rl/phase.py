"""One rollout phase: the engine takes over the policy, answers prompts, and its responses become trajectories with advantages.

`RolloutPhases.run` is the whole of it, from top to bottom. A phase is followed by the optimizer steps of
`drpt.modules.policy_training`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from drpt.data.chat import EncodedExample
from drpt.data.prompts import PromptData
from drpt.rl.advantage_estimator import AdvantageEstimator
from drpt.rl.group_advantages import has_signal
from drpt.rl.parity import ParityCheck
from drpt.rl.phase_metrics import sampling_metrics
from drpt.rl.sampled_groups import SampledGroups
from drpt.rl.sampler import Sampler
from drpt.rl.scoring import Scorer
from drpt.rl.trajectory import Trajectory, require_finite


@dataclass(slots=True, kw_only=True)
class Phase:
    """Trajectories of one phase, and what was measured on the way."""

    index: int
    general: list[Trajectory]
    target: list[Trajectory]  # empty where no target gradient is needed, or where it is that of the general trajectories
    metrics: dict[str, float] = field(default_factory=dict)
    outcomes: list[dict[str, Any]] = field(default_factory=list)  # of the reward's terms, for a table
    samples: list[dict[str, Any]] = field(default_factory=list)  # a few responses, for a table


@dataclass(frozen=True, slots=True)
class PromptKinds:
    """Which prompts a phase asks for responses to."""

    general: bool
    target: bool


def prompt_kinds(*, needs_general: bool, needs_target: bool, target_source: str) -> PromptKinds:
    """Which prompts a phase must ask.

    Args:
        needs_general: Whether the update looks at responses to general prompts.
        needs_target: Whether the update looks at a target gradient.
        target_source: Where the responses of the target gradient come from, a key of `TARGET_SOURCES`.

    Returns:
        General prompts also where the target gradient is that of the phase's own responses.
    """
    is_own = target_source == "self"
    return PromptKinds(general=needs_general or (needs_target and is_own), target=needs_target and not is_own)


class RolloutPhases:
    """Makes phases.

    Args:
        sampler: Sampler that draws and judges responses.
        prompts: Prompts of every phase.
        scorer: Scorer that computes log-probabilities and values.
        parity: Comparison of the engine with the trainer.
        estimator: Estimator of advantages.
        kinds: Which prompts are asked.
    """

    def __init__(
        self,
        sampler: Sampler,
        prompts: PromptData,
        scorer: Scorer,
        parity: ParityCheck,
        estimator: AdvantageEstimator,
        kinds: PromptKinds,
    ) -> None:
        self.sampler = sampler
        self.prompts = prompts
        self.estimator = estimator
        self._scorer = scorer
        self._parity = parity
        self._kinds = kinds

    @property
    def num_responses(self) -> int:
        """Number of responses to general prompts in a whole phase."""
        return self.sampler.spec.num_prompts * self.sampler.spec.num_responses

    def follow(self, model: nn.Module) -> None:
        """Bring the reference model to the policy's device and dtype."""
        self.sampler.follow(model)
        self._scorer.follow(model)

    def run(self, phase_index: int, model: nn.Module) -> Phase:
        """Run one phase.

        Args:
            phase_index: Index of the phase, from 0; with the run's seed it determines prompts and draws.
            model: Policy.

        Returns:
            Trajectories with advantages, and metrics. No trajectories where no group of general prompts has a signal.

        Raises:
            NonFiniteError: A reward, a log-probability or a value is NaN or infinite.
            StaleWeightsError: The engine does not compute what the trainer computes.
        """
        start = time.perf_counter()
        metrics = {"rollout/sync_seconds/value": self.sampler.sync(model)}
        self.sampler.reset_seconds()
        general = self._sample_general(phase_index) if self._kinds.general else SampledGroups()
        target = self._sample_target(phase_index) if self._kinds.target else SampledGroups()
        metrics |= sampling_metrics(general, target, self.sampler.rewards.terms, self.sampler.seconds)
        phase = Phase(index=phase_index, general=general.trajectories(), target=target.trajectories(), metrics=metrics)
        if self._kinds.general and not phase.general:  # nothing to learn from: the caller goes on to the next phase
            phase.target = []
        else:
            metrics |= self._parity(phase_index, [*phase.general, *phase.target], model)
            metrics |= self._estimate("train", phase.general, model, is_target=False)
            # Where the policy is trained on target responses alone, they are what is learned from.
            metrics |= self._estimate("train_target", phase.target, model, is_target=bool(phase.general))
            self.estimator.end_phase()
            shown = general if general.groups else target
            phase.outcomes = self.sampler.rewards.terms.outcomes(shown.judged)
            pairs = zip(shown.examples, shown.groups, strict=True)
            phase.samples = [self.sampler.table_row(example, group[0]) for example, group in pairs]
        metrics["rollout/seconds/value"] = time.perf_counter() - start
        return phase

    def _estimate(
        self, stage: str, trajectories: Sequence[Trajectory], model: nn.Module, *, is_target: bool
    ) -> dict[str, float]:
        """Fill in scores and advantages."""
        if not trajectories:
            return {}
        self._scorer.fill_in(trajectories, model)
        require_finite(trajectories)
        figures = self.estimator(trajectories, is_target=is_target)
        return {f"{stage}/{name}": value for name, value in figures.items()}

    def _sample_general(self, phase_index: int) -> SampledGroups:
        """Responses to general prompts; other prompts are asked where groups without a signal are to be replaced."""
        rule, wanted = self.estimator.zero_variance, self.sampler.spec.num_prompts
        rounds = self.estimator.resample_rounds if rule == "resample" else 1
        sampled = SampledGroups()
        for repetition in range(rounds):
            prompt_index = phase_index * rounds + repetition
            self._sample(sampled, self.prompts.general(prompt_index), "general", prompt_index)
            signals = has_signal(sampled.rewards).tolist()
            sampled.kept = [place for place, signal in enumerate(signals) if signal or rule == "keep"][:wanted]
            if len(sampled.kept) == wanted:
                break
        return sampled

    def _sample_target(self, phase_index: int) -> SampledGroups:
        sampled = SampledGroups()
        self._sample(sampled, self.prompts.target(phase_index), "target", phase_index)
        sampled.kept = list(range(len(sampled.groups)))
        return sampled

    def _sample(self, sampled: SampledGroups, examples: Sequence[EncodedExample], stream: str, prompt_index: int) -> None:
        sampled.groups += self.sampler.sample(examples, self.sampler.sampling(stream, prompt_index))
        sampled.examples += examples
