"""How much a nat of divergence from the reference costs, from phase to phase."""

from drpt.rl.choices import MAX_KL_ERROR, KlControl


class KlController:
    """The penalty's coefficient β.

    ``fixed`` leaves it alone. ``adaptive`` changes it after each phase by

        ``β ← β · (1 + clip(KL / target − 1, −0.2, 0.2) · N / horizon)``

    with KL the mean over the phase's N responses of their summed divergence. Source: Ziegler et al. 2019 (arXiv 1909.08593,
    section 2.2), whose proportional controller has a gain of 0.1 a batch; the horizon in responses is its code's.

    Args:
        kind: How the coefficient changes.
        coefficient: Coefficient β of the first phase.
        target: Divergence that ``adaptive`` aims at, in nats a response; not used by ``fixed``.
        horizon: Number of responses that ``adaptive`` averages over; not used by ``fixed``.
    """

    def __init__(self, kind: KlControl, *, coefficient: float, target: float, horizon: float) -> None:
        self.coefficient = coefficient
        self._kind = kind
        self._target = target
        self._horizon = horizon

    def update(self, kl: float, num_responses: int) -> None:
        """Adapt the coefficient after a phase.

        Args:
            kl: Mean over responses of the divergence summed over tokens, in nats.
            num_responses: Number of responses of the mean.
        """
        if self._kind is KlControl.ADAPTIVE:
            error = min(max(kl / self._target - 1, -MAX_KL_ERROR), MAX_KL_ERROR)
            self.coefficient *= 1 + error * num_responses / self._horizon


def largest_change(*, num_responses: int, num_phases: int, horizon: float) -> float:
    """The most that an adaptive coefficient can be multiplied by within a run.

    Args:
        num_responses: Number N of responses of a phase.
        num_phases: Number P of phases of the run; the coefficient changes between them.
        horizon: Horizon of the coefficient in responses; see `KlController`.

    Returns:
        ``(1 + 0.2 N / horizon)^(P − 1)``.
    """
    return float((1 + MAX_KL_ERROR * num_responses / horizon) ** max(0, num_phases - 1))


def horizon_that_doubles(*, num_responses: int, num_phases: int) -> float:
    """The horizon with which an adaptive coefficient can just double within a run.

    Args:
        num_responses: Number N of responses of a phase.
        num_phases: Number P of phases of the run, at least 2.

    Returns:
        ``0.2 N / (2^(1/(P − 1)) − 1)``, in responses.

    Raises:
        ValueError: A run of one phase has no time between phases.
    """
    if num_phases < 2:
        raise ValueError(f"num_phases={num_phases}: a coefficient moves between phases; at least 2 are needed.")
    return MAX_KL_ERROR * num_responses / float(2 ** (1 / (num_phases - 1)) - 1)
