"""The parts of an algorithm that belong together: how advantages are estimated, and which loss they enter."""

from dataclasses import dataclass

from drpt.rl.advantage_estimator import AdvantageEstimator, GroupAdvantageEstimator, ValueAdvantageEstimator
from drpt.rl.algorithm_spec import AlgorithmSpec, GroupAlgorithmSpec
from drpt.rl.policy_loss import PolicyLoss, group_terms
from drpt.rl.policy_statistics import PolicyStatistics
from drpt.rl.ppo_loss import PpoLoss
from drpt.rl.ppo_spec import PpoSpec


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """What a policy is trained by."""

    estimator: AdvantageEstimator
    loss: PolicyLoss
    value_lr: float | None = None  # learning rate of the value head; None for an algorithm without a value function
    stop_kl: float | None = None  # nats a token; see `ends_phase`

    @property
    def has_value_function(self) -> bool:
        """Whether the policy needs a value head."""
        return self.value_lr is not None

    def ends_phase(self, statistics: PolicyStatistics) -> bool:
        """Whether the rest of a phase is skipped, because the policy has moved too far from the one that answered.

        Departure: the step whose statistics show it has been taken already.

        Args:
            statistics: Statistics of a step's responses under the policy before the step's update.

        Returns:
            False for an algorithm without such a bound.
        """
        return self.stop_kl is not None and statistics.means()["kl_old"] > self.stop_kl


def build_algorithm(spec: AlgorithmSpec, *, temperature: float, max_tokens: int, pad_token_id: int) -> Algorithm:
    """Build estimator and loss.

    Args:
        spec: The `algorithm` config group.
        temperature: Temperature that responses are drawn under.
        max_tokens: Tokens of the longest response allowed.
        pad_token_id: Token id that fills shorter rows.

    Returns:
        The algorithm.

    Raises:
        TypeError: The specification is of no algorithm of ours.
    """
    if isinstance(spec, PpoSpec):
        return Algorithm(
            estimator=ValueAdvantageEstimator(spec),
            loss=PpoLoss(spec, temperature=temperature, max_tokens=max_tokens, pad_token_id=pad_token_id),
            value_lr=spec.value.lr,
            stop_kl=spec.kl.stop,
        )
    if isinstance(spec, GroupAlgorithmSpec):
        loss = PolicyLoss(spec, group_terms(spec), temperature=temperature, max_tokens=max_tokens, pad_token_id=pad_token_id)
        return Algorithm(estimator=GroupAdvantageEstimator(spec), loss=loss)
    raise TypeError(f"algorithm of kind {type(spec).__name__}: take GroupAlgorithmSpec or PpoSpec, or build an Algorithm.")
