"""Proximal policy optimization in the `algorithm` config group: its keys and rules, without torch."""

from dataclasses import dataclass

from drpt.checks import check_choice, check_interval, check_size
from drpt.optim.spec import check_learning_rate
from drpt.rl.algorithm_spec import AlgorithmSpec
from drpt.rl.choices import KL_CONTROLS, KL_ESTIMATORS, SCORE_SCALINGS, KlControl


@dataclass(kw_only=True)
class KlSpec:
    """The penalty for leaving the model before training, a part of every token's reward."""

    control: str  # a key of KL_CONTROLS
    coefficient: float  # of the first phase; 0 = no reference model
    target: float | None  # nats a response; of control=adaptive
    horizon: float | None  # responses; of control=adaptive
    estimator: str  # a key of KL_ESTIMATORS
    stop: float | None  # nats a token: a step that begins further from the phase's first policy is its last; null = never

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        check_choice("algorithm.kl.control", self.control, KL_CONTROLS)
        check_choice("algorithm.kl.estimator", self.estimator, KL_ESTIMATORS)
        meaning = "what a nat of divergence costs; 0 needs no reference"
        check_size("algorithm.kl.coefficient", self.coefficient, is_zero_included=True, meaning=meaning)
        is_adaptive = self.control == KlControl.ADAPTIVE
        for name, value, meaning in (
            ("target", self.target, "nats a response that the coefficient aims at"),
            ("horizon", self.horizon, "responses after which an error of 1 has moved the coefficient by its own size"),
        ):
            if is_adaptive and value is not None:
                check_size(f"algorithm.kl.{name}", value, is_zero_included=False, meaning=meaning)
            elif is_adaptive:
                raise ValueError(f"algorithm.kl.{name}=null: algorithm.kl.control=adaptive needs it: {meaning}.")
        if is_adaptive and self.coefficient == 0:
            raise ValueError(
                "algorithm.kl.coefficient=0: an adaptive coefficient is multiplied from phase to phase, and 0 stays 0. Give a "
                "positive one, or algorithm.kl.control=fixed."
            )
        if self.stop is not None:
            meaning = "nats a token between the phase's first policy and the one that a step begins with; null = never stop"
            check_size("algorithm.kl.stop", self.stop, is_zero_included=False, meaning=meaning)


@dataclass(kw_only=True)
class ValueSpec:
    """The value function: a linear head on the policy's last hidden states."""

    coefficient: float  # of its loss
    clip: float | None  # a value may move so far from the old one before its loss is flat; null = anywhere
    lr: float  # highest learning rate of the head; the trunk has optimizer.lr

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        meaning = "the weight of the value function's loss"
        check_size("algorithm.value.coefficient", self.coefficient, is_zero_included=True, meaning=meaning)
        check_learning_rate("algorithm.value.lr", self.lr, meaning="the value head's learning rate")
        if self.clip is not None:
            meaning = "how far a value may move; null = anywhere"
            check_size("algorithm.value.clip", self.clip, is_zero_included=False, meaning=meaning)


@dataclass(kw_only=True)
class ScoreSpec:
    """How the reward's scores are transformed before they become rewards of tokens."""

    scaling: str  # a key of SCORE_SCALINGS
    clip: float | None  # scores beyond ± this are cut, after scaling; null = none are

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        check_choice("algorithm.score.scaling", self.scaling, SCORE_SCALINGS)
        if self.clip is not None:
            meaning = "the largest size of a score; null = any"
            check_size("algorithm.score.clip", self.clip, is_zero_included=False, meaning=meaning)


@dataclass(kw_only=True)
class PpoSpec(AlgorithmSpec):
    """Proximal policy optimization with a value head and a reference model."""

    discount: float  # γ
    gae_lambda: float  # λ of generalized advantages
    whiten_rewards: bool  # token rewards to variance 1 over a phase, the mean left
    whiten_advantages: bool  # advantages to mean 0 and variance 1 over a phase
    entropy_coefficient: float  # weight of the policy's entropy, which is added to the objective
    kl: KlSpec
    value: ValueSpec
    score: ScoreSpec

    @property
    def needs_reference(self) -> bool:
        """Whether the log-probabilities of the model before training are needed."""
        return self.kl.coefficient > 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        AlgorithmSpec.__post_init__(self)
        for name, value, meaning in (
            ("discount", self.discount, "what a reward counts a token earlier"),
            ("gae_lambda", self.gae_lambda, "0 trusts the value function, 1 the rewards that came"),
        ):
            check_interval(f"algorithm.{name}", value, low=0, high=1, meaning=meaning)
        meaning = "the weight of the entropy bonus"
        check_size("algorithm.entropy_coefficient", self.entropy_coefficient, is_zero_included=True, meaning=meaning)
