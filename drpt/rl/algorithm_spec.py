"""The `algorithm` config group: how rewards become a policy's gradient; keys and rules, without torch.

For proximal policy optimization see `drpt.rl.ppo_spec`.
"""

from dataclasses import dataclass

from drpt.checks import check_choice, check_interval, check_size
from drpt.rl.choices import ADVANTAGES, KL_GRADIENTS, NORMALISATIONS, TARGET_OBJECTIVES

ZERO_VARIANCE = {
    "keep": "groups whose rewards are all alike stay, with advantages of 0",
    "drop": "they are left out, and the phase is that much shorter",
    "resample": "they are left out, and other prompts are asked until the phase is full",
}
OLD_LOGPROBS = {
    "engine": "those of the engine that drew the tokens; in float32 only",
    "trainer": "computed again by the trainer before the phase's first step, with truncated importance weights",
}
TARGET_SOURCES = {
    "prompts": "responses to target prompts",
    "self": "the phase's own responses to general prompts (self-reference)",
}
_LEAST_CLIP = 2.0**-23


@dataclass(kw_only=True)
class TargetObjectiveSpec:
    """The objective whose gradient is the target gradient v."""

    source: str  # a key of TARGET_SOURCES
    objective: str  # a key of TARGET_OBJECTIVES
    refresh_steps: int  # optimizer steps between two computations of v; it is new in every phase

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        check_choice("algorithm.target.source", self.source, TARGET_SOURCES)
        check_choice("algorithm.target.objective", self.objective, TARGET_OBJECTIVES)
        meaning = "optimizer steps between two computations of the target gradient"
        check_interval("algorithm.target.refresh_steps", self.refresh_steps, low=1, meaning=meaning)


@dataclass(kw_only=True)
class AlgorithmSpec:
    """Settings of every algorithm: a clipped policy loss over the responses of a phase, for one or several epochs."""

    name: str  # in tables and dashboards
    normalisation: str  # a key of NORMALISATIONS: how responses of different length are weighted
    clip_low: float  # the ratio counts from 1 − this
    clip_high: float  # up to 1 + this
    epochs: int  # times that a phase's responses are gone through
    old_logprobs: str  # a key of OLD_LOGPROBS
    importance_cap: float | None  # of the weights between engine and trainer; goes with old_logprobs=trainer, null = no weights
    target: TargetObjectiveSpec

    @property
    def needs_reference(self) -> bool:
        """Whether the log-probabilities of the model before training are needed."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        check_choice("algorithm.normalisation", self.normalisation, NORMALISATIONS)
        check_choice("algorithm.old_logprobs", self.old_logprobs, OLD_LOGPROBS)
        meaning = "the ratio of new to old probability counts from 1 − this"
        check_interval("algorithm.clip_low", self.clip_low, low=0, high=1, is_low_included=False, meaning=meaning)
        meaning = "the ratio of new to old probability counts up to 1 + this"
        check_interval("algorithm.clip_high", self.clip_high, low=0, is_low_included=False, meaning=meaning)
        for name, value in (("clip_low", self.clip_low), ("clip_high", self.clip_high)):
            if value < _LEAST_CLIP:
                raise ValueError(
                    f"algorithm.{name}={value} must be at least {_LEAST_CLIP:.2g}, the spacing of float32's numbers at 1: a "
                    "ratio cannot differ from 1 by less, and every token would be clipped as soon as the policy moves."
                )
        check_interval("algorithm.epochs", self.epochs, low=1, meaning="times that a phase's responses are gone through")
        if self.importance_cap is not None:
            meaning = "the largest weight between engine and trainer"
            check_interval("algorithm.importance_cap", self.importance_cap, low=1, meaning=meaning)
            if self.old_logprobs != "trainer":
                raise ValueError(
                    f"algorithm.importance_cap={self.importance_cap}: weights between engine and trainer need both's "
                    "log-probs: set algorithm.old_logprobs=trainer, or algorithm.importance_cap=null."
                )


@dataclass(kw_only=True)
class GroupAlgorithmSpec(AlgorithmSpec):
    """Group-relative policy optimization and its variants: responses to one prompt are compared with each other."""

    advantage: str  # a key of ADVANTAGES
    kl_coefficient: float  # of the divergence from the model before training; 0 = no reference model
    kl_gradient: str  # a key of KL_GRADIENTS
    zero_variance: str  # a key of ZERO_VARIANCE
    resample_rounds: int  # most times that prompts are asked for one phase

    @property
    def needs_reference(self) -> bool:
        """Whether the log-probabilities of the model before training are needed."""
        return self.kl_coefficient > 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        AlgorithmSpec.__post_init__(self)
        check_choice("algorithm.advantage", self.advantage, ADVANTAGES)
        check_choice("algorithm.kl_gradient", self.kl_gradient, KL_GRADIENTS)
        check_choice("algorithm.zero_variance", self.zero_variance, ZERO_VARIANCE)
        meaning = "the weight of the divergence from the model before training; 0 needs no reference"
        check_size("algorithm.kl_coefficient", self.kl_coefficient, is_zero_included=True, meaning=meaning)
        check_interval("algorithm.resample_rounds", self.resample_rounds, low=1, meaning="times that prompts are asked")
