"""Names of the choices in reinforcement learning, and what they mean; no torch, since configurations are checked first."""

from enum import StrEnum


class Advantage(StrEnum):
    """How a response's reward is compared with those of the other responses to its prompt."""

    STD = "std"
    MEAN = "mean"
    RLOO = "rloo"


class Normalisation(StrEnum):
    """What the losses of a step's responses are divided by."""

    SEQUENCE = "sequence"
    TOKEN = "token"
    CONSTANT = "constant"


class TargetObjective(StrEnum):
    """The objective over target responses whose gradient is v."""

    REWARD = "reward"
    TOKEN_PG = "token_pg"
    TRAIN_LOSS = "train_loss"
    TRAIN_LOSS_PRECLIP = "train_loss_preclip"


class KlGradient(StrEnum):
    """Which factors of ratio · k3 the gradient of the penalty passes through."""

    K3 = "k3"
    RATIO_K3 = "ratio_k3"


class KlEstimator(StrEnum):
    """How KL(π‖ref) is estimated from the log-ratio d = log π − log ref of a drawn token."""

    K1 = "k1"
    K2 = "k2"
    K3 = "k3"


class KlControl(StrEnum):
    """How the penalty's coefficient changes from phase to phase."""

    FIXED = "fixed"
    ADAPTIVE = "adaptive"


# Largest relative distance to its target that an adaptive coefficient answers to, so that a phase moves it by a bounded factor.
MAX_KL_ERROR = 0.2


class ScoreScaling(StrEnum):
    """How the reward model's scores are scaled."""

    NONE = "none"
    SPREAD = "spread"
    STANDARD = "standard"


ADVANTAGES: dict[str, str] = {
    Advantage.STD: "reward minus the group's mean, over its standard deviation (GRPO)",
    Advantage.MEAN: "reward minus the group's mean (Dr. GRPO)",
    Advantage.RLOO: "reward minus the mean of the group's other responses (RLOO)",
}
NORMALISATIONS: dict[str, str] = {
    Normalisation.SEQUENCE: "every response weighs the same, whatever its length (GRPO)",
    Normalisation.TOKEN: "every response token of the step weighs the same (DAPO)",
    Normalisation.CONSTANT: "sums over tokens, divided by responses times the longest length allowed (Dr. GRPO)",
}
TARGET_OBJECTIVES: dict[str, str] = {
    TargetObjective.REWARD: "log-probability of each response times its reward, normalised over all target responses",
    TargetObjective.TOKEN_PG: "mean log-probability of each response's tokens times their advantage",
    TargetObjective.TRAIN_LOSS: "the training loss on the target responses",
    TargetObjective.TRAIN_LOSS_PRECLIP: "the training loss on the target responses, without clipping",
}
KL_GRADIENTS: dict[str, str] = {
    KlGradient.K3: "through k3 alone: the update descends KL(reference‖policy); on-policy it is GRPO as published",
    KlGradient.RATIO_K3: "through both: the update descends KL(policy‖reference), on- and off-policy (DeepSeek-V3.2)",
}
KL_ESTIMATORS: dict[str, str] = {
    KlEstimator.K1: "d: unbiased, of either sign, noisy",
    KlEstimator.K2: "d²/2: never negative, biased away from the reference, less noisy",
    KlEstimator.K3: "e^−d − 1 + d: unbiased and never negative",
}
KL_CONTROLS: dict[str, str] = {
    KlControl.FIXED: "the coefficient stays",
    KlControl.ADAPTIVE: "it rises where the divergence is above its target, and falls where it is below (Ziegler et al. 2019)",
}
SCORE_SCALINGS: dict[str, str] = {
    ScoreScaling.NONE: "scores as they are",
    ScoreScaling.SPREAD: "divided by the standard deviation of all scores so far",
    ScoreScaling.STANDARD: "less the mean of all scores so far, divided by their standard deviation",
}
