"""Whether the engine computes what the trainer computes: log-probabilities of the same tokens, compared.

Measured with SmolLM2-135M on the CPU, temperature 1, 1200 tokens of chat answers. Rounding makes a mean difference of 6e-6 nats
(at most 4e-5) in float32 and of 0.04 to 0.05 (at most 0.3; 0.065 over four responses, and single tokens far out after
nonsensical prompts) in bfloat16. Weights that are one AdamW step old make, with the learning rate in brackets: all
parameters 1.8e-3 (1e-7), 1.8e-2 (1e-6), 0.18 (1e-5), 1.5 (1e-4); LoRA of rank 8 3e-4 (1e-6), 3e-3 (1e-5), 0.03 (1e-4), 0.3
(1e-3). So float32 tells all of these from rounding, and bfloat16 the large ones alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from drpt.rl.sampler import Sampler
from drpt.rl.scoring import Scorer
from drpt.rl.trajectory import Trajectory
from drpt.rollouts.errors import RolloutError

# Largest mean difference in nats, by the engine's dtype.
BOUNDS = {"float32": 1e-4, "bfloat16": 0.15}
_LARGEST_EXPONENT = 700.0  # of exp in float64


class StaleWeightsError(RolloutError):
    """The engine's log-probabilities are not those of the trainer's weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """Differences of log-probabilities, trainer minus engine, over some tokens."""

    mean: float  # of the absolute values, nats
    max: float  # of the absolute values, nats
    ratio: float  # mean of exp(difference), the importance weight; 1 where the engine draws from the trainer's distribution
    num_tokens: int

    def metrics(self) -> dict[str, float]:
        """Figures by ``quantity/statistic``."""
        return {"mismatch/mean": self.mean, "mismatch/max": self.max, "importance_ratio/mean": self.ratio}


def measure_mismatch(engine: Sequence[Sequence[float]], trainer: Sequence[Sequence[float]]) -> Mismatch:
    """Compare log-probabilities of the same responses.

    Args:
        engine: The engine's log-probabilities in nats, one list (or row of a tensor) for each response.
        trainer: The trainer's log-probabilities of the same tokens, in nats.

    Returns:
        The differences; a difference that is not a number counts as infinite.

    Raises:
        ValueError: The two are not of the same tokens, or there are none.
    """
    if [len(row) for row in engine] != [len(row) for row in trainer] or not any(len(row) for row in engine):
        raise ValueError(
            f"engine and trainer must give log-probs of the same tokens, at least one: responses of {[len(r) for r in engine]} "
            f"and of {[len(r) for r in trainer]} tokens."
        )
    pairs = [pair for row, others in zip(engine, trainer, strict=True) for pair in zip(row, others, strict=True)]
    differences = [float(own) - float(other) for other, own in pairs]
    sizes = [math.inf if math.isnan(difference) else abs(difference) for difference in differences]
    return Mismatch(
        mean=sum(sizes) / len(sizes),
        max=max(sizes),
        ratio=sum(math.exp(min(difference, _LARGEST_EXPONENT)) for difference in differences) / len(sizes),
        num_tokens=len(sizes),
    )


def check_parity(mismatch: Mismatch, *, dtype: str, bound: float | None) -> None:
    """Stop where the differences are more than rounding.

    Args:
        mismatch: Differences that were measured.
        dtype: The coarser of the two dtypes, a key of `BOUNDS`.
        bound: Largest mean difference in nats; None for the dtype's own.

    Raises:
        StaleWeightsError: The mean difference is above the bound.
    """
    limit = BOUNDS[dtype] if bound is None else bound
    if mismatch.mean <= limit:
        return
    kind = f"rollout.dtype={dtype}" if bound is None else "rollout.parity_bound"
    raise StaleWeightsError(
        f"The engine's log-probs differ from the trainer's by {mismatch.mean:.3g} nats on average, {mismatch.max:.3g} at most "
        f"(importance ratio {mismatch.ratio:.4g}, {mismatch.num_tokens} tokens); {kind} allows {limit:.3g} on average. "
        "Likely causes: the engine answers with older weights (the policy was changed after the last sync, or another run "
        "synced the server); it computes this model otherwise than transformers; the trainer runs in a lower precision "
        "(trainer.precision), or with dropout. Run again with rollout=transformers: if that passes, the engine is at fault. "
        "Raise rollout.parity_bound if the difference is rounding; the metric rollout/mismatch/mean shows how it develops."
    )


class ParityCheck:
    """Compares a few of the engine's log-probabilities with the trainer's; stale weights stop the run.

    Args:
        sampler: Sampler whose engine drew the responses.
        scorer: Scorer that computes the trainer's log-probabilities.
        dtype: The coarser of the engine's and the trainer's dtypes, a key of `BOUNDS`: what rounding may do.
    """

    def __init__(self, sampler: Sampler, scorer: Scorer, *, dtype: str) -> None:
        self._sampler = sampler
        self._scorer = scorer
        self._dtype = dtype

    def __call__(self, phase_index: int, trajectories: Sequence[Trajectory], model: nn.Module) -> dict[str, float]:
        """Compare, in every ``rollout.parity_every_phases``-th phase.

        Args:
            phase_index: Index of the phase, from 0.
            trajectories: Trajectories of the phase, before they are scored; at least one.
            model: Policy that the engine was given.

        Returns:
            The differences by metric; empty in a phase without a comparison.

        Raises:
            StaleWeightsError: The engine does not compute what the trainer computes.
        """
        spec = self._sampler.spec
        if phase_index % spec.parity_every_phases:
            return {}
        # Evenly among all prompts: trajectories of one group share their prompt.
        count = min(spec.parity_responses, len(trajectories))
        some = [trajectories[place * len(trajectories) // count] for place in range(count)]
        if spec.truncates:  # log-probs of a truncated distribution say nothing: draw from the whole one
            some = self._drawn_from_whole(phase_index, some)
        own = self._scorer.score(some, model).logprobs
        mismatch = measure_mismatch([one.engine_logprobs for one in some], own)
        check_parity(mismatch, dtype=self._dtype, bound=spec.parity_bound)
        return {f"rollout/{name}": value for name, value in mismatch.metrics().items()}

    def _drawn_from_whole(self, phase_index: int, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
        """Other responses to the same prompts, drawn without truncation."""
        sampling = replace(self._sampler.sampling("probe", phase_index, num_responses=1), top_p=1.0, top_k=0)
        prompts = [one.prompt for one in trajectories]
        return [
            Trajectory(prompt=prompt, response=list(response.token_ids), engine_logprobs=list(response.logprobs))
            for prompt, (response,) in zip(prompts, self._sampler.engine.generate(prompts, sampling), strict=True)
        ]
