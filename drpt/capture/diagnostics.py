"""What a step chose, in numbers worth watching."""

from collections import defaultdict
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from drpt.capture.partition import module_kind
from drpt.geometry.products import Coefficients, Products


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockReport:
    """One block's choice."""

    coefficients: Coefficients
    products: Products | None  # None when the choice did not depend on gradients
    update_sq: Float[Tensor, ""]  # ‖u‖²


@dataclass(frozen=True, slots=True)
class StepReport:
    """A step's blocks, by name, in the partition's order; empty when one weighted loss gave the update."""

    blocks: tuple[tuple[str, BlockReport], ...]

    def metrics(self) -> dict[str, float]:
        """``‖u‖/‖v‖``, ``cos(u, v)`` over all blocks and the mean share of general examples kept, also by kind of layer.

        ``<u, v> = Σ c_i s_i + a τ``; both norms are summed over blocks before the ratio is taken.
        """
        if not self.blocks:
            return {}
        metrics: dict[str, float] = {}
        update_sq = sum(float(report.update_sq) for _, report in self.blocks)
        products = [(report.coefficients, report.products) for _, report in self.blocks if report.products is not None]
        if products:
            target_sq = sum(float(p.target_sq[0]) for _, p in products)
            inner = sum(
                float((c.general[0].to(p.alignment) * p.alignment[0]).sum() + c.target[0] * p.target_sq[0])
                for c, p in products
            )
            if target_sq > 0:
                metrics["train/update_norm_ratio/mean"] = (update_sq / target_sq) ** 0.5
                if update_sq > 0:
                    metrics["train/update_cosine/mean"] = inner / (update_sq * target_sq) ** 0.5
        kept: defaultdict[str, list[float]] = defaultdict(list)
        for name, report in self.blocks:
            kept[module_kind(name)].append(float((report.coefficients.general[0] != 0).float().mean()))
        shares = [share for values in kept.values() for share in values]
        metrics["train/kept_share/mean"] = sum(shares) / len(shares)
        return metrics
