"""What a step chose, in numbers worth watching."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from drpt.geometry.products import Coefficients, Products


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockReport:
    """One block's choice."""

    coefficients: Coefficients
    products: Products | None  # None when the choice did not depend on gradients
    update_sq: Float[Tensor, ""] | None  # ‖u‖²; None when an ordinary backward pass formed the update


@dataclass(frozen=True, slots=True)
class StepReport:
    """A step's blocks, by name, in the partition's order."""

    blocks: tuple[tuple[str, BlockReport], ...]

    def metrics(self) -> dict[str, float]:
        """``‖u‖/‖v‖``, ``cos(u, v)`` over all blocks and the mean share of general examples kept.

        ``<u, v> = Σ c_i s_i + a τ``; both norms are summed over blocks before the ratio is taken.

        Returns:
            Figures by name; the first two only when the choice depended on gradients.
        """
        metrics: dict[str, float] = {}
        known = [
            (report.coefficients, report.products, report.update_sq)
            for _, report in self.blocks
            if report.products is not None and report.update_sq is not None
        ]
        if known:
            update_sq = sum(float(square) for _, _, square in known)
            target_sq = sum(float(p.target_sq[0]) for _, p, _ in known)
            inner = sum(
                float((c.general[0].to(p.alignment) * p.alignment[0]).sum() + c.target[0] * p.target_sq[0]) for c, p, _ in known
            )
            if target_sq > 0:
                metrics["train/update_norm_ratio/mean"] = (update_sq / target_sq) ** 0.5
                if update_sq > 0:
                    metrics["train/update_cosine/mean"] = inner / (update_sq * target_sq) ** 0.5
        if self.blocks and self.blocks[0][1].coefficients.general.shape[1]:
            shares = [float((report.coefficients.general[0] != 0).float().mean()) for _, report in self.blocks]
            metrics["train/kept_share/mean"] = sum(shares) / len(shares)
        return metrics
