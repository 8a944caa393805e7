"""From rewards to advantages: responses compared within a group, or tokens compared with a value function."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from drpt.rl.algorithm_spec import GroupAlgorithmSpec
from drpt.rl.choices import Advantage, KlControl, KlEstimator, ScoreScaling
from drpt.rl.gae import explained_variance, generalized_advantages, token_rewards, whitened
from drpt.rl.group_advantages import group_advantages
from drpt.rl.kl import kl_estimate
from drpt.rl.kl_control import KlController
from drpt.rl.log_ratio import LARGEST_LOG_RATIO
from drpt.rl.ppo_spec import PpoSpec
from drpt.rl.running_moments import RunningMoments
from drpt.rl.trajectory import Trajectory


class AdvantageEstimator(Protocol):
    """Estimates what each token of a phase's responses is worth to the policy."""

    zero_variance: str  # a key of `ZERO_VARIANCE`
    resample_rounds: int  # largest number of times that prompts are asked for one phase

    def __call__(self, trajectories: Sequence[Trajectory], *, is_target: bool) -> dict[str, float]:
        """Fill in the trajectories' advantages.

        Args:
            trajectories: Trajectories with rewards and log-probabilities; at least one.
            is_target: Whether they answer target prompts: then nothing is learned from them for later phases.

        Returns:
            Figures by metric, without their stage.
        """

    def end_phase(self) -> None:
        """Use what was learned from this phase in the next one."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs, in plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the state of a checkpoint."""


class GroupAdvantageEstimator:
    """Compares the responses to one prompt with each other; every token of a response has the response's advantage.

    Args:
        spec: The `algorithm` config group.
    """

    def __init__(self, spec: GroupAlgorithmSpec) -> None:
        self.zero_variance = spec.zero_variance
        self.resample_rounds = spec.resample_rounds
        self._kind = Advantage(spec.advantage)

    def __call__(self, trajectories: Sequence[Trajectory], *, is_target: bool) -> dict[str, float]:
        """See `AdvantageEstimator`."""
        num_groups = len({one.group for one in trajectories})
        rewards = torch.tensor([one.reward for one in trajectories], dtype=torch.float64).reshape(num_groups, -1)
        advantages = group_advantages(rewards, self._kind).flatten().tolist()
        for one, advantage in zip(trajectories, advantages, strict=True):
            one.advantages = [advantage] * one.num_tokens
        return {}

    def end_phase(self) -> None:
        """Nothing is learned from one phase for the next."""

    def state_dict(self) -> dict[str, Any]:
        """No state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """No state."""


class ValueAdvantageEstimator:
    """Turns scores, less the price of leaving the reference model, into advantages of tokens against a value function.

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
        self._seen: tuple[float, int] | None = None  # mean divergence of the phase's responses, and their number

    def __call__(self, trajectories: Sequence[Trajectory], *, is_target: bool) -> dict[str, float]:
        """See `AdvantageEstimator`."""
        spec = self._spec
        if not is_target:
            self._moments.add([one.reward for one in trajectories])
        scores = torch.tensor([self._scaled(one.reward) for one in trajectories], dtype=torch.float64)
        mask = _mask([one.num_tokens for one in trajectories])
        values = _rows([one.values for one in trajectories], mask)
        has_reference = bool(trajectories[0].reference_logprobs)
        log_ratios = torch.zeros_like(values)
        if has_reference:
            old = _rows([one.old_logprobs for one in trajectories], mask)
            log_ratios = old - _rows([one.reference_logprobs for one in trajectories], mask)
        penalties = self._controller.coefficient * kl_estimate(log_ratios, KlEstimator(spec.kl.estimator))
        rewards = token_rewards(scores, penalties, mask)
        if spec.whiten_rewards:
            rewards = whitened(rewards, mask, shifts=False)
        advantages = generalized_advantages(rewards, values, mask, discount=spec.discount, gae_lambda=spec.gae_lambda)
        returns = advantages + values
        figures = {
            "return/mean": float(returns[mask].mean()),
            "value/mean": float(values[mask].mean()),
            "explained_variance/value": explained_variance(values, returns, mask),
            "advantage/std": float(advantages[mask].std()) if int(mask.sum()) > 1 else 0.0,
            "score/mean": float(scores.mean()),
        }
        if has_reference:
            figures |= self._kl_figures(log_ratios, penalties, mask, is_target=is_target)
        if spec.whiten_advantages:
            advantages = whitened(advantages, mask, shifts=True)
        for one, own, wanted in zip(trajectories, _lists(advantages, mask), _lists(returns, mask), strict=True):
            one.advantages, one.returns = own, wanted
        return figures

    def end_phase(self) -> None:
        """Adapt the penalty's coefficient."""
        if self._seen is not None:
            self._controller.update(*self._seen)
            self._seen = None

    def state_dict(self) -> dict[str, Any]:
        """The penalty's coefficient, and the moments of all scores so far."""
        moments = self._moments
        return {"coefficient": self._controller.coefficient, "moments": [moments.count, moments.mean, moments.squares]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the state of a checkpoint."""
        self._controller.coefficient = state["coefficient"]
        count, mean, squares = state["moments"]
        self._moments = RunningMoments(count=count, mean=mean, squares=squares)

    def _kl_figures(
        self,
        log_ratios: Float[Tensor, "row token"],
        penalties: Float[Tensor, "row token"],
        mask: Bool[Tensor, "row token"],
        *,
        is_target: bool,
    ) -> dict[str, float]:
        """Figures of the divergence from the reference model, which `end_phase` answers to."""
        # k1 summed over a response: what the controller aims at, whatever estimator the penalty takes.
        per_response = log_ratios.sum(dim=1).tolist()
        if not is_target:
            self._seen = fmean(per_response), len(per_response)
        figures = {
            "kl_response/mean": fmean(per_response),
            "kl_coefficient/value": self._controller.coefficient,
            "kl_penalty/mean": float(penalties[mask].mean()),
        }
        if KlEstimator(self._spec.kl.estimator) is KlEstimator.K3:
            figures["kl_penalty_cut/mean"] = float((log_ratios[mask] < -LARGEST_LOG_RATIO).double().mean())
        return figures

    def _scaled(self, score: float) -> float:
        spec, moments = self._spec.score, self._moments
        if spec.scaling == ScoreScaling.STANDARD:
            score -= moments.mean
        if spec.scaling != ScoreScaling.NONE:
            score /= moments.std
        return score if spec.clip is None else min(max(score, -spec.clip), spec.clip)


def _mask(num_tokens: Sequence[int]) -> Bool[Tensor, "row token"]:
    """Marks the responses, from position 1 on: position 0 stands for the prompt."""
    lengths = torch.tensor(num_tokens)
    places = torch.arange(int(lengths.max()) + 1)
    return (places >= 1) & (places <= lengths[:, None])


def _rows(values: Sequence[Sequence[float]], mask: Bool[Tensor, "row token"]) -> Float[Tensor, "row token"]:
    flat = torch.tensor([value for row in values for value in row], dtype=torch.float64)
    return torch.zeros(mask.shape, dtype=torch.float64).masked_scatter(mask, flat)


def _lists(values: Float[Tensor, "row token"], mask: Bool[Tensor, "row token"]) -> list[list[float]]:
    return [row[own].tolist() for row, own in zip(values, mask, strict=True)]
