"""The phase whose trajectories are trained on, and how far training has come in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drpt.capture.target import TargetGradient
from drpt.rl.trajectory import Trajectory, from_columns, to_columns


@dataclass(slots=True, kw_only=True)
class PhaseProgress:
    """A phase in progress; a checkpoint holds it, since the weights that drew its responses are gone."""

    phase_index: int = -1  # none has begun
    general: list[Trajectory] = field(default_factory=list)
    target: list[Trajectory] = field(default_factory=list)
    minibatches: list[list[int]] = field(default_factory=list)  # indices of the general trajectories of every optimizer step
    position: int = 0  # of the next step among the minibatches
    first_step: int = 0  # optimizer step that the phase began with
    target_grad: TargetGradient | None = None

    @property
    def is_used_up(self) -> bool:
        """Whether a new phase is due."""
        return self.position == len(self.minibatches)

    @property
    def minibatch(self) -> list[int]:
        """Indices of the general trajectories of the next step."""
        return self.minibatches[self.position]

    @property
    def target_trajectories(self) -> list[Trajectory]:
        """Trajectories of the target objective: those of target prompts, or the phase's own."""
        return self.target or self.general

    def is_target_due(self, refresh_steps: int) -> bool:
        """Whether the next step computes the target gradient anew.

        Args:
            refresh_steps: Optimizer steps between two computations; every phase begins with one.

        Returns:
            True in the first step of a phase, and every ``refresh_steps`` steps after it.
        """
        return self.position % refresh_steps == 0

    def skip_rest(self) -> int:
        """Leave out the phase's other steps.

        Returns:
            Number of steps that are left out.
        """
        skipped = len(self.minibatches) - self.position
        self.minibatches = self.minibatches[: self.position]
        return skipped

    def state(self, refresh_steps: int) -> dict[str, Any]:
        """What a checkpoint needs; cheap, and unchanged by later steps.

        Args:
            refresh_steps: See `is_target_due`; a target gradient that is not used again is left out.

        Returns:
            Values, some of which `plain_state` makes plain when a checkpoint is written.
        """
        is_kept = self.target_grad is not None and not self.is_target_due(refresh_steps)
        return {
            "phase": self.phase_index,
            "place": self.position,
            "first_step": self.first_step,
            "batches": self.minibatches,
            "general": self.general,
            "target": self.target,
            "target_grad": self.target_grad.state_dict() if self.target_grad is not None and is_kept else None,
        }


def plain_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `PhaseProgress.state`, as a checkpoint holds them.

    Args:
        state: Those values, among others.

    Returns:
        The same with trajectories as lists of numbers.
    """
    return {**state, **{name: to_columns(state[name]) for name in ("general", "target")}}


def progress_of(state: Mapping[str, Any]) -> PhaseProgress:
    """The phase in progress that a checkpoint holds.

    Args:
        state: Values as `plain_state` gives them.

    Returns:
        The phase, at the step after the checkpoint.
    """
    return PhaseProgress(
        phase_index=state["phase"],
        position=state["place"],
        first_step=state["first_step"],
        minibatches=state["batches"],
        general=from_columns(state["general"]),
        target=from_columns(state["target"]),
        target_grad=None if state["target_grad"] is None else TargetGradient(state["target_grad"]),
    )
