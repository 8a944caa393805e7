"""Phases without a response to learn from: they are passed over, counted, and given up on with the reason."""

from collections.abc import Callable
from dataclasses import dataclass

PHASES_IN_VAIN = 8  # number of such phases in a row at which a run gives up
_SECONDS = "rollout/seconds/value"


class NoSignalError(ValueError):
    """No response of several phases in a row has anything to teach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunPhase:
    """What a phase leaves to train on."""

    metrics: dict[str, float]
    num_general: int  # trajectories of general prompts; 0 where no group has a signal
    num_steps: int  # optimizer steps of the phase


def begin_until_signal(begin: Callable[[], BegunPhase]) -> dict[str, float]:
    """Begin phases until one leaves an optimizer step to take.

    Args:
        begin: Begins the next phase.

    Returns:
        Metrics of the phase that is trained on, with the seconds of all of them and the number of those passed over.

    Raises:
        NoSignalError: None of `PHASES_IN_VAIN` phases left anything to train on.
    """
    seconds, num_alike = 0.0, 0
    for num_in_vain in range(PHASES_IN_VAIN):
        begun = begin()
        seconds += begun.metrics[_SECONDS]
        if begun.num_steps:
            in_vain = {"train/phases_in_vain/value": float(num_in_vain)} if num_in_vain else {}
            return begun.metrics | in_vain | {_SECONDS: seconds}
        num_alike += not begun.num_general
    raise NoSignalError(_reason(num_alike))


def _reason(num_alike: int) -> str:
    alike = (
        f"in {num_alike} of {PHASES_IN_VAIN} phases in a row all rewards of every group were alike, so that "
        "algorithm.zero_variance left nothing to learn from. Take easier or harder prompts, more responses "
        "(rollout.num_responses), a reward with partial credit, or algorithm.zero_variance=keep."
    )
    dropped = (
        f"in {PHASES_IN_VAIN - num_alike} of {PHASES_IN_VAIN} phases in a row every response pointed against the target "
        "gradient and was dropped. Take a larger regularizer.strength (the share of such responses that is kept), or another "
        "regularizer."
    )
    return " ".join([*([alike] if num_alike else []), *([dropped] if num_alike < PHASES_IN_VAIN else [])])
