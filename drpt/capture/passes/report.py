"""What a step chose, in numbers worth watching."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.errors import UpdateMismatchError
from drpt.geometry.products import Coefficients, Products
from drpt.geometry.solution import Solution

# Inner products are sums of many terms in float32, and a GPU may be told to round factors to the 11 bits of TF32.
_SUMS_ROUNDING = 2.0**13  # in units of the products' own precision; 0.001 of float32
_UPDATE_ROUNDING = 4.0  # of the precision that the update is formed in: factors, coefficients, products, sums
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
    scale: float = 1.0  # what the update was multiplied by
    rounding: float | None = None  # machine epsilon of what the update was formed in; None = the update is not to be checked

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

        ``<u, v> = Σ c_i s_i + a τ``; norms and inner products are summed over blocks before ratios are taken. The step's scale
        is left out of both: v is not scaled. A cosine outside [−1, 1] beyond rounding says that the gradients in ``.grad`` are
        not those that the inner products are of. What is rounding grows where the terms of u cancel each other. Sketched
        products are estimates, whose cosine may leave the interval and is reported as it is: only exact products are checked.

        Args:
            update_norm: ``‖u‖`` over all blocks that are regularized, of the gradients that this step alone left.

        Returns:
            Figures by name; the first two only when the choice depended on gradients. A solver's residual that is NaN is a
            failure.

        Raises:
            UpdateMismatchError: The cosine is impossible.
        """
        metrics: dict[str, float] = {}
        known = [(group.coefficients, group.products) for group in self.groups if group.products is not None]
        if known:
            target_norm = float(torch.stack([p.target_sq.sum() for _, p in known]).sum()) ** 0.5
            if target_norm > 0 and self.scale > 0:
                unscaled_norm = update_norm / self.scale
                metrics[_OF_ONE_TARGET[0]] = unscaled_norm / target_norm
                if unscaled_norm > 0:
                    inner = float(torch.stack([_inner(c, p) for c, p in known]).sum())
                    cosine = inner / (unscaled_norm * target_norm)
                    self._check_cosine(cosine, unscaled_norm, target_norm)
                    metrics[_OF_ONE_TARGET[1]] = cosine
        chosen = [group.coefficients for group in self.groups]
        solved = [coefficients.solved for coefficients in chosen if coefficients.solved is not None]
        if solved:
            metrics["train/solver_residual/max"] = float(torch.cat([solution.residual for solution in solved]).max())
            metrics["train/solver_failures/sum"] = float(sum(_num_failures(solution) for solution in solved))
        for name in ("strength", "relaxation"):
            dials = [dial for coefficients in chosen if (dial := getattr(coefficients, name)) is not None]
            if dials and not bool(torch.isnan(torch.cat(dials)).any()):
                metrics[f"train/{name}/mean"] = float(torch.cat(dials).mean())
        if chosen and chosen[0].general.shape[1]:
            kept = torch.cat([coefficients.general for coefficients in chosen]) != 0
            metrics["train/kept_share/mean"] = float(kept.float().mean())
        return metrics

    def _check_cosine(self, cosine: float, update_norm: float, target_norm: float) -> None:
        if self.rounding is None or abs(cosine) <= 1.0:
            return
        known = [(group.coefficients, group.products) for group in self.groups if group.products is not None]
        products_rounding = max(torch.finfo(p.alignment.dtype).eps for _, p in known)
        terms = sum(_size_of_terms(c, p) for c, p in known) / update_norm
        allowed = (_SUMS_ROUNDING * products_rounding + _UPDATE_ROUNDING * self.rounding) * max(1.0, terms)
        if not abs(cosine) <= 1.0 + allowed:
            raise UpdateMismatchError(
                f"the update's cosine with the target gradient is {cosine:.6g}, outside [-1, 1] by more than the rounding of "
                f"{allowed:.2g} (norm of the update {update_norm:.6g}, of the target gradient {target_norm:.6g}): what is in "
                ".grad is not the update that the inner products are of. Either the model uses a parameter, or mixes its "
                "examples, in a way that the capture does not see (freeze such a layer's parameters), or the norm that was "
                "given is of other gradients than those of this step's regularized parameters before clipping."
            )


def merged_metrics(reports: Sequence[StepReport], *, update_norm: float) -> dict[str, float]:
    """`StepReport.metrics` of a step that made several choices.

    Their target gradients differ, so that what compares the update with the one is left out then.

    Args:
        reports: Reports of the choices, at least one.
        update_norm: ``‖u‖`` over all blocks.

    Returns:
        Figures by name.
    """
    if len(reports) == 1:
        return reports[0].metrics(update_norm=update_norm)
    # Neither scale nor rounding: they are for what is left out here.
    merged = StepReport(tuple(group for report in reports for group in report.groups), reports[0].names)
    metrics = merged.metrics(update_norm=update_norm)
    return {name: value for name, value in metrics.items() if name not in _OF_ONE_TARGET}


def _inner(coefficients: Coefficients, products: Products) -> Float[Tensor, ""]:
    """``<u, v>`` over some blocks."""
    general = (coefficients.general.to(products.alignment) * products.alignment).sum()
    return general + (coefficients.target.to(products.target_sq) * products.target_sq).sum()


def _size_of_terms(coefficients: Coefficients, products: Products) -> float:
    """``Σ_i |c_i| ‖g_i‖ + |a| ‖v‖`` over some blocks, next to which rounding in u is small."""
    # Without a gramian |s_i| / ‖v‖ stands for ‖g_i‖, which is at least as large.
    target = products.target_sq.clamp(min=0).sqrt()
    if products.gramian is not None:
        own = torch.diagonal(products.gramian, dim1=1, dim2=2).clamp(min=0).sqrt()
    else:
        own = torch.where(target[:, None] > 0, products.alignment.abs() / target[:, None], 0.0)
    general = (coefficients.general.to(own).abs() * own).sum()
    return float(general + (coefficients.target.to(target).abs() * target).sum())


def _num_failures(solution: Solution) -> int:
    """Blocks whose residual is above the tolerance or no number."""
    return int((~solution.is_converged | solution.residual.isnan()).sum())


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
