"""What a step chose, in numbers worth watching."""

from dataclasses import dataclass

import torch

from drpt.geometry.products import Coefficients, Products


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockReport:
    """One block's choice."""

    coefficients: Coefficients
    products: Products | None  # None when the choice did not depend on gradients


@dataclass(frozen=True, slots=True)
class StepReport:
    """A step's blocks, by name, in the partition's order."""

    blocks: tuple[tuple[str, BlockReport], ...]

    def metrics(self, *, update_norm: float) -> dict[str, float]:
        """``‖u‖/‖v‖`` and ``cos(u, v)`` over all blocks, the mean share of general examples kept, and automatic dials.

        ``<u, v> = Σ c_i s_i + a τ``; norms and inner products are summed over blocks before ratios are taken.

        Args:
            update_norm: ``‖u‖`` over all blocks, of the gradients that the step left.

        Returns:
            Figures by name; the first two only when the choice depended on gradients.
        """
        metrics: dict[str, float] = {}
        known = [(report.coefficients, report.products) for _, report in self.blocks if report.products is not None]
        if known:
            target_sq = torch.stack([p.target_sq[0] for _, p in known]).sum()
            inner = torch.stack(
                [(c.general[0].to(p.alignment) * p.alignment[0]).sum() + c.target[0] * p.target_sq[0] for c, p in known]
            ).sum()
            target_norm = float(target_sq) ** 0.5
            if target_norm > 0:
                metrics["train/update_norm_ratio/mean"] = update_norm / target_norm
                if update_norm > 0:
                    metrics["train/update_cosine/mean"] = float(inner) / (update_norm * target_norm)
        solved = [report.coefficients.solved for _, report in self.blocks if report.coefficients.solved is not None]
        if solved:
            metrics["train/solver_residual/max"] = float(torch.cat([solution.residual for solution in solved]).max())
            metrics["train/solver_failures/sum"] = float(sum(int((~solution.is_converged).sum()) for solution in solved))
        for name in ("strength", "relaxation"):
            chosen = [dial for _, report in self.blocks if (dial := getattr(report.coefficients, name)) is not None]
            if chosen and not bool(torch.isnan(torch.cat(chosen)).any()):
                metrics[f"train/{name}/mean"] = float(torch.cat(chosen).mean())
        if self.blocks and self.blocks[0][1].coefficients.general.shape[1]:
            kept = torch.cat([report.coefficients.general for _, report in self.blocks]) != 0
            metrics["train/kept_share/mean"] = float(kept.float().mean())
        return metrics
