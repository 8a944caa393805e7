"""Checks of a run's updates: each is finite before the optimizer takes it, and not all of them are zero."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from drpt.capture.partition import Block
from drpt.errors import NonFiniteUpdateError, NonFiniteWeightsError, VanishedUpdatesError

_SHOWN_NAMES = 3  # of parameters


@dataclass(frozen=True, slots=True)
class UpdateNorm:
    """Norms of what is in ``.grad``, both finite."""

    regularized: float  # over the parameters that the regularizer decides on
    whole: float  # over all trained ones


class UpdateWatch:
    """Checks every update before the optimizer takes it, and all of them together when a run ends.

    Args:
        parameters: Trained parameters by name.
        blocks: Blocks of the partition, which messages name beside a parameter.
        unregularized: Names of the parameters that get the ordinary general gradient.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], blocks: Sequence[Block], unregularized: Sequence[str]) -> None:
        self._parameters = dict(parameters)
        self._block_of = {name: block.name for block in blocks for name in block.parameters}
        self._unregularized = frozenset(unregularized)
        self.num_steps = 0
        self.num_zero = 0  # steps whose regularized update was zero
        self.num_unsolved = 0  # steps in which a solver failed

    def norm(self, step: int) -> UpdateNorm:
        """Norms of the update that is in ``.grad``.

        Args:
            step: Index of the optimizer step, from 0.

        Returns:
            Norms of the regularized parameters' update and of the whole update, in the unit of the gradients.

        Raises:
            NonFiniteUpdateError: A gradient is NaN or infinite, or float32 overflows where AdamW squares it.
        """
        kinds: dict[bool, list[Tensor]] = {True: [], False: []}
        for name, parameter in self._parameters.items():
            if parameter.grad is not None:
                kinds[name in self._unregularized].append(parameter.grad)
        others = float(nn.utils.get_total_norm(kinds[True])) if kinds[True] else 0.0
        regularized = float(nn.utils.get_total_norm(kinds[False]))
        whole = math.hypot(regularized, others)
        if not math.isfinite(whole):
            raise NonFiniteUpdateError(self._describe(step))
        return UpdateNorm(regularized, whole)

    def count(self, norm: UpdateNorm, metrics: Mapping[str, float]) -> dict[str, float]:
        """Count a step that is about to be taken.

        Args:
            norm: Norms of its update.
            metrics: Metrics of the step by name.

        Returns:
            ``train/zero_updates/sum``: steps of the run so far whose regularized update was exactly zero. One alone is
            legitimate: a filter that drops everyone, responses that teach nothing.
        """
        self.num_steps += 1
        self.num_zero += norm.regularized == 0.0
        self.num_unsolved += metrics.get("train/solver_failures/sum", 0.0) > 0
        return {"train/zero_updates/sum": float(self.num_zero)}

    def require_change(self) -> None:
        """Refuse to finish a run that changed nothing.

        Raises:
            VanishedUpdatesError: All its updates were zero.
        """
        if self.num_steps and self.num_zero == self.num_steps:
            unsolved = f" In {self.num_unsolved} of them a solver failed (train/solver_residual)." if self.num_unsolved else ""
            raise VanishedUpdatesError(
                f"all {self.num_steps} updates of this run were exactly zero, so that nothing was learned.{unsolved} Either "
                "the regularizer chose nothing (train/kept_share; take another regularizer.strength or another regularizer), "
                "or there was nothing to learn from (train/groups_with_signal: rewards that are all alike), or the gradients "
                "are too small for float32."
            )

    def require_finite_weights(self, state: Mapping[nn.Parameter, Mapping[str, Any]], step: int) -> None:
        """Refuse to save, or to end with, weights that are not finite.

        Args:
            state: Optimizer state of each parameter.
            step: Number of optimizer steps taken.

        Raises:
            NonFiniteWeightsError: A trained weight, or what is remembered of it, is NaN or infinite.
        """
        tensors = dict(self._parameters) | {
            f"{key} of {name}": value
            for name, parameter in self._parameters.items()
            for key, value in state.get(parameter, {}).items()
            if isinstance(value, Tensor)
        }
        if bool(torch.stack([torch.isfinite(value.detach()).all().to("cpu") for value in tensors.values()]).all()):
            return
        bad = {name: num for name, value in tensors.items() if (num := num_non_finite(value.detach()))}
        listed = [f"{self._named(name)} in {num} of {tensors[name].numel()} entries" for name, num in bad.items()]
        raise NonFiniteWeightsError(
            f"after step {step} the trained weights are NaN or infinite: {_joined(listed)}. They are not written: checkpoints "
            "are as they were before. Lower optimizer.lr, set optimizer.clip_norm, or train with trainer.precision=32-true."
        )

    def state_dict(self) -> dict[str, int]:
        """Counters for a checkpoint."""
        return {"num_steps": self.num_steps, "num_zero": self.num_zero, "num_unsolved": self.num_unsolved}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from the counters of a checkpoint."""
        self.num_steps, self.num_zero, self.num_unsolved = (state[name] for name in ("num_steps", "num_zero", "num_unsolved"))

    def _describe(self, step: int) -> str:
        grads = {name: parameter.grad for name, parameter in self._parameters.items() if parameter.grad is not None}
        bad = {name: num for name, grad in grads.items() if (num := num_non_finite(grad))}
        if not bad:
            name, grad = max(grads.items(), key=lambda item: float(item[1].abs().max()))
            return (
                f"step {step + 1}: the update is too large for AdamW, whose squares float32 cannot hold: {self._named(name)} "
                f"has entries up to {float(grad.abs().max()):.3g}. Nothing was updated. Lower what the losses or the "
                "gradients are multiplied by (finetune.alpha, reward.terms.….weight, algorithm.….coefficient), or lower "
                "optimizer.lr."
            )
        listed = [f"{self._named(name)} in {num} of {grads[name].numel()} entries" for name, num in bad.items()]
        return (
            f"step {step + 1}: the update is NaN or infinite, and all losses are finite: {_joined(listed)}. Nothing was "
            "updated. A layer's backward pass has overflowed or divides by zero: a norm, root or quotient of zeros does, "
            "where its ε is too small for the precision. Train with trainer.precision=32-true, lower optimizer.lr, raise "
            "that ε in the model's configuration, or freeze the parameters (finetune=lora leaves embeddings alone)."
        )

    def _named(self, name: str) -> str:
        return f"{name} (block {self._block_of[name.rpartition(' ')[2]]})"


def num_non_finite(values: Tensor) -> int:
    """Number of entries that are NaN or infinite."""
    return int((~torch.isfinite(values)).sum())


def _joined(listed: Sequence[str]) -> str:
    more = f" and {len(listed) - _SHOWN_NAMES} more" if len(listed) > _SHOWN_NAMES else ""
    return "; ".join(listed[:_SHOWN_NAMES]) + more
