"""What a step chose, in numbers worth watching."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch

from drpt.geometry.products import Coefficients, Products
from drpt.geometry.quadratic_program import Solution

_OF_ONE_TARGET = ("train/update_norm_ratio/mean", "train/update_cosine/mean")


@dataclass(frozen=True, slots=True)
class BlockGroup:
    """Blocks whose coefficients were chosen in one go."""

    blocks: tuple[int, ...]  # indices within the partition
    coefficients: Coefficients  # a row a block
    products: Products | None  # likewise; None when the choice did not depend on gradients


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockReport:
    """One block's choice."""

    coefficients: Coefficients
    products: Products | None


@dataclass(frozen=True, slots=True)
class StepReport:
    """A step's choices, group by group."""

    groups: tuple[BlockGroup, ...]
    names: tuple[str, ...]  # of the blocks

    @property
    def blocks(self) -> tuple[tuple[str, BlockReport], ...]:
        """The blocks one by one, with their names, in the partition's order."""
        found = {
            index: BlockReport(
                coefficients=_row(group.coefficients, place),
                products=None if group.products is None else _row(group.products, place),
            )
            for group in self.groups
            for place, index in enumerate(group.blocks)
        }
        return tuple((self.names[index], found[index]) for index in sorted(found))

    def metrics(self, *, update_norm: float) -> dict[str, float]:
        """``‖u‖/‖v‖`` and ``cos(u, v)`` over all blocks, the mean share of general examples kept, and automatic dials.

        ``<u, v> = Σ c_i s_i + a τ``; norms and inner products are summed over blocks before ratios are taken.

        Args:
            update_norm: ``‖u‖`` over all blocks, of the gradients that the step left.

        Returns:
            Figures by name; the first two only when the choice depended on gradients.
        """
        metrics: dict[str, float] = {}
        known = [(group.coefficients, group.products) for group in self.groups if group.products is not None]
        if known:
            target_sq = torch.stack([p.target_sq.sum() for _, p in known]).sum()
            inner = torch.stack(
                [
                    (c.general.to(p.alignment) * p.alignment).sum() + (c.target.to(p.target_sq) * p.target_sq).sum()
                    for c, p in known
                ]
            ).sum()
            target_norm = float(target_sq) ** 0.5
            if target_norm > 0:
                metrics[_OF_ONE_TARGET[0]] = update_norm / target_norm
                if update_norm > 0:
                    metrics[_OF_ONE_TARGET[1]] = float(inner) / (update_norm * target_norm)
        chosen = [group.coefficients for group in self.groups]
        solved = [coefficients.solved for coefficients in chosen if coefficients.solved is not None]
        if solved:
            metrics["train/solver_residual/max"] = float(torch.cat([solution.residual for solution in solved]).max())
            metrics["train/solver_failures/sum"] = float(sum(int((~solution.is_converged).sum()) for solution in solved))
        for name in ("strength", "relaxation"):
            dials = [dial for coefficients in chosen if (dial := getattr(coefficients, name)) is not None]
            if dials and not bool(torch.isnan(torch.cat(dials)).any()):
                metrics[f"train/{name}/mean"] = float(torch.cat(dials).mean())
        if chosen and chosen[0].general.shape[1]:
            kept = torch.cat([coefficients.general for coefficients in chosen]) != 0
            metrics["train/kept_share/mean"] = float(kept.float().mean())
        return metrics


def merged_metrics(reports: Sequence[StepReport], *, update_norm: float) -> dict[str, float]:
    """`StepReport.metrics` of a step that made several choices.

    Their target gradients differ, so that what compares the update with the one is left out then.

    Args:
        reports: One a choice; at least one.
        update_norm: ``‖u‖`` over all blocks.

    Returns:
        Figures by name.
    """
    if len(reports) == 1:
        return reports[0].metrics(update_norm=update_norm)
    merged = StepReport(tuple(group for report in reports for group in report.groups), reports[0].names)
    metrics = merged.metrics(update_norm=update_norm)
    return {name: value for name, value in metrics.items() if name not in _OF_ONE_TARGET}


_Blocks = TypeVar("_Blocks", Coefficients, Products, Solution)


def _row(of_blocks: _Blocks, place: int) -> _Blocks:
    """One block's part of coefficients or products, still with an axis of blocks."""
    changes: dict[str, Any] = {}  # Any: fields of several kinds
    for name in of_blocks.__dataclass_fields__:
        value = getattr(of_blocks, name)
        if isinstance(value, torch.Tensor):
            changes[name] = value[place : place + 1]
        elif value is not None:
            changes[name] = _row(value, place)
    return replace(of_blocks, **changes)
