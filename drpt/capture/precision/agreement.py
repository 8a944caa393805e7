"""How far two computations of the same scores agree: in the order of the examples, in the choice, in the numbers.

Axes: block = blocks of parameters, general = general examples. Blocks in which the exact scores are all alike (LoRA's A before
the first step, whose gradient is zero) have no order to agree with, and are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_LEAST_RANKED = 3  # of two examples, an order is a coin toss


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreAgreement:
    """Of some blocks; each figure is None where no block has one."""

    mean_rank: float | None  # Spearman's correlation within each block of at least three examples, −1 to 1
    min_rank: float | None  # of the worst block
    worst_block: str | None
    choice: float | None  # share of examples and blocks whose coefficient is zero in both or in neither
    relative_error: float | None  # ‖scores − exact‖ / ‖exact‖ in each block, mean over blocks

    def metrics(self) -> dict[str, float]:
        """The figures by name."""
        named = {
            "train/score_rank_agreement/mean": self.mean_rank,
            "train/score_rank_agreement/min": self.min_rank,
            "train/score_choice_agreement/mean": self.choice,
            "train/score_relative_error/mean": self.relative_error,
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockScores:
    """One block's scores and choice, computed twice; in float64."""

    name: str
    scores: Float[Tensor, " general"]  # ω_i s_i
    exact_scores: Float[Tensor, " general"]
    coefficients: Float[Tensor, " general"]  # c_i
    exact_coefficients: Float[Tensor, " general"]


def agreement(blocks: Sequence[BlockScores]) -> ScoreAgreement:
    """Compare scores block by block.

    Args:
        blocks: Those that were regularized.

    Returns:
        Means over the blocks that have an order.
    """
    blocks = [block for block in blocks if bool((block.exact_scores != block.exact_scores[:1]).any())]
    ranked = [block for block in blocks if len(block.scores) >= _LEAST_RANKED]
    ranks = [rank_correlation(block.scores, block.exact_scores) for block in ranked]
    lowest, worst = min(zip(ranks, (block.name for block in ranked), strict=True), default=(None, None))
    same = [((b.coefficients != 0) == (b.exact_coefficients != 0)).double() for b in blocks]
    errors = [(b.scores - b.exact_scores).norm() / b.exact_scores.norm() for b in blocks]
    return ScoreAgreement(
        mean_rank=sum(ranks) / len(ranks) if ranks else None,
        min_rank=lowest,
        worst_block=worst,
        choice=float(torch.cat(same).mean()) if same else None,
        relative_error=float(torch.stack(errors).mean()) if errors else None,
    )


def rank_correlation(a: Float[Tensor, " general"], b: Float[Tensor, " general"]) -> float:
    """Spearman's: the correlation of ranks, equals sharing their mean rank.

    Args:
        a: At least two numbers.
        b: As many.

    Returns:
        From −1 to 1; 0 where one side's are all equal, which says nothing about an order.
    """
    left, right = _centred_ranks(a), _centred_ranks(b)
    size = float(left.norm() * right.norm())
    return float(left @ right) / size if size > 0 else 0.0


def _centred_ranks(values: Tensor) -> Tensor:
    above = (values[:, None] > values).sum(dim=1) - (values[:, None] < values).sum(dim=1)
    return above.double() / 2
