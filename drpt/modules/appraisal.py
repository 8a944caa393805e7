"""From rewards of responses to advantages: by comparison within a group, or against a value function."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from drpt.modules.algorithm_spec import GroupAlgorithmSpec
from drpt.modules.experience import Experience
from drpt.modules.ppo_spec import PpoSpec
from drpt.objectives.advantages import group_advantages
from drpt.objectives.choices import Advantage, KlControl, KlEstimator, ScoreScaling
from drpt.objectives.gae import explained_variance, generalized_advantages, token_rewards, whitened
from drpt.objectives.kl import kl_estimate
from drpt.objectives.kl_control import KlController
from drpt.objectives.log_ratio import LARGEST_LOG_RATIO
from drpt.objectives.running_moments import RunningMoments


class Appraisal(Protocol):
    """What a phase's responses are worth to the policy."""

    zero_variance: str  # a key of `ZERO_VARIANCE`
    resample_rounds: int  # most times that prompts are asked for one phase

    def __call__(self, experience: Experience, *, is_target: bool) -> dict[str, float]:
        """Fill in the experience's advantages.

        Args:
            experience: With rewards and log-probs; not empty.
            is_target: Of target prompts: it is appraised with what was known before, and nothing is learned from it.

        Returns:
            Figures by name, without their stage.
        """

    def end_phase(self) -> None:
        """Take what was learned from the phase into account in the next."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs, in plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


class GroupAppraisal:
    """Responses to one prompt are compared with each other.

    Args:
        spec: The `algorithm` config group.
    """

    def __init__(self, spec: GroupAlgorithmSpec) -> None:
        self.zero_variance = spec.zero_variance
        self.resample_rounds = spec.resample_rounds
        self._kind = Advantage(spec.advantage)

    def __call__(self, experience: Experience, *, is_target: bool) -> dict[str, float]:
        """See `Appraisal`."""
        num_groups = len(set(experience.groups))
        rewards = torch.tensor(experience.rewards, dtype=torch.float64).reshape(num_groups, -1)
        experience.advantages = group_advantages(rewards, self._kind).flatten().tolist()
        return {}

    def end_phase(self) -> None:
        """Nothing is learned."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing."""


class ValueAppraisal:
    """Scores, less the price of leaving the reference, become advantages of tokens against a value function.

    Args:
        spec: The `algorithm` config group.
    """

    def __init__(self, spec: PpoSpec) -> None:
        self.zero_variance = "keep"  # a response is not compared with others
        self.resample_rounds = 1
        self._spec = spec
        kl = spec.kl
        self._controller = KlController(
            KlControl(kl.control), coefficient=kl.coefficient, target=kl.target or 1.0, horizon=kl.horizon or 1.0
        )
        self._moments = RunningMoments()
        self._seen: tuple[float, int] | None = None  # divergence of the phase's responses, and how many they were

    def __call__(self, experience: Experience, *, is_target: bool) -> dict[str, float]:
        """See `Appraisal`."""
        spec, beta = self._spec, self._controller.coefficient
        if not is_target:
            self._moments.add(experience.rewards)
        scores = torch.tensor([self._scaled(reward) for reward in experience.rewards], dtype=torch.float64)
        mask = _mask(experience.num_tokens)
        values = _rows(experience.values, mask)
        log_ratios = torch.zeros_like(values)
        if experience.reference_logprobs:
            log_ratios = _rows(experience.old_logprobs, mask) - _rows(experience.reference_logprobs, mask)
        estimator = KlEstimator(spec.kl.estimator)
        penalties = beta * kl_estimate(log_ratios, estimator)
        rewards = token_rewards(scores, penalties, mask)
        if spec.whiten_rewards:
            rewards = whitened(rewards, mask, shifts=False)
        advantages = generalized_advantages(rewards, values, mask, discount=spec.discount, decay=spec.decay)
        returns = advantages + values
        figures = {
            "return/mean": float(returns[mask].mean()),
            "value/mean": float(values[mask].mean()),
            "explained_variance/value": explained_variance(values, returns, mask),
            "advantage/std": float(advantages[mask].std()) if int(mask.sum()) > 1 else 0.0,
            "score/mean": float(scores.mean()),
        }
        if experience.reference_logprobs:
            # k1 summed over a response: what the controller aims at, whatever estimator the penalty takes.
            per_response = log_ratios.sum(dim=1).tolist()
            figures |= {"kl_response/mean": fmean(per_response), "kl_coefficient/value": beta}
            figures["kl_penalty/mean"] = float(penalties[mask].mean())
            if estimator is KlEstimator.K3:
                figures["kl_penalty_cut/mean"] = float((log_ratios[mask] < -LARGEST_LOG_RATIO).double().mean())
            if not is_target:
                self._seen = fmean(per_response), len(per_response)
        if spec.whiten_advantages:
            advantages = whitened(advantages, mask, shifts=True)
        experience.token_advantages, experience.returns = _lists(advantages, mask), _lists(returns, mask)
        return figures

    def end_phase(self) -> None:
        """Move the penalty's coefficient."""
        if self._seen is not None:
            self._controller.update(*self._seen)
            self._seen = None

    def state_dict(self) -> dict[str, Any]:
        """The coefficient, and what is known of scores."""
        moments = self._moments
        return {"coefficient": self._controller.coefficient, "moments": [moments.count, moments.mean, moments.squares]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._controller.coefficient = state["coefficient"]
        count, mean, squares = state["moments"]
        self._moments = RunningMoments(count=count, mean=mean, squares=squares)

    def _scaled(self, score: float) -> float:
        spec, moments = self._spec.score, self._moments
        if spec.scaling == ScoreScaling.STANDARD:
            score -= moments.mean
        if spec.scaling != ScoreScaling.NONE:
            score /= moments.std
        return score if spec.clip is None else min(max(score, -spec.clip), spec.clip)


def _mask(num_tokens: Sequence[int]) -> Bool[Tensor, "row token"]:
    """Responses alone, from position 1 on: position 0 stands for the prompt."""
    lengths = torch.tensor(num_tokens)
    places = torch.arange(int(lengths.max()) + 1)
    return (places >= 1) & (places <= lengths[:, None])


def _rows(values: Sequence[Sequence[float]], mask: Bool[Tensor, "row token"]) -> Float[Tensor, "row token"]:
    flat = torch.tensor([value for row in values for value in row], dtype=torch.float64)
    return torch.zeros(mask.shape, dtype=torch.float64).masked_scatter(mask, flat)


def _lists(values: Float[Tensor, "row token"], mask: Bool[Tensor, "row token"]) -> list[list[float]]:
    return [row[own].tolist() for row, own in zip(values, mask, strict=True)]
