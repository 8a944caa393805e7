"""How much each response of a step weighs: the one place where losses of reinforcement learning are scaled."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from drpt.rl.choices import Normalisation


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWeights:
    """The step's loss is ``scale · Σ_i ω_i · (token mean of row i)``."""

    base_weights: Float[Tensor, " row"]  # ω, float32; not negative, sum 1 over the step
    scale: float  # what the update is multiplied by


def row_weights(num_tokens: Int[Tensor, " row"], kind: Normalisation, *, max_tokens: int) -> RowWeights:
    """Base weights and scale under which token means add up to the loss as its paper writes it.

    With N rows of T_i response tokens, ℓ_it the loss of a token and m_i = Σ_t ℓ_it / T_i what `policy_losses` gives:

    - ``sequence``: ``(1/N) Σ_i (1/T_i) Σ_t ℓ_it``: ω_i = 1/N, scale 1.
      Source: GRPO (Shao et al. 2024, arXiv 2402.03300, eq. 3), whose groups are of one size.
    - ``token``: ``Σ_i Σ_t ℓ_it / Σ_i T_i``: ω_i = T_i / ΣT, scale 1.
      Source: DAPO (Yu et al. 2025, arXiv 2503.14476). Departure: over the whole step, where the paper writes one group.
    - ``constant``: ``Σ_i Σ_t ℓ_it / (N · max_tokens)``: ω_i = T_i / ΣT, scale = ΣT / (N · max_tokens).
      Source: Dr. GRPO (Liu et al. 2025, arXiv 2503.20783), which sums over tokens; the constant divisor is its code's.

    A row without tokens has m_i = 0 and counts in N. Where no row has one, ω is uniform: there is nothing to weigh.

    Args:
        num_tokens: T_i of *all* rows of the optimizer step, over its micro-batches and processes; each micro-batch then takes
            the ω of its own rows, unchanged.
        kind: Normalisation of the loss.
        max_tokens: Tokens of the longest response allowed, used by ``constant`` alone; at least 1, not checked.

    Returns:
        Base weights ω [row] in the order of the rows, and the scale.

    Raises:
        ValueError: There is no row.
    """
    num_rows, total = len(num_tokens), int(num_tokens.sum())
    if num_rows == 0:
        raise ValueError("a step of no rows has no weights: skip it, or draw more responses.")
    scale = total / (num_rows * max_tokens) if kind == Normalisation.CONSTANT else 1.0
    if kind == Normalisation.SEQUENCE or total == 0:
        # The dtype is said, since Lightning makes bfloat16 torch's default during a step of bf16-true.
        uniform = torch.full((num_rows,), 1 / num_rows, dtype=torch.float32, device=num_tokens.device)
        return RowWeights(base_weights=uniform, scale=scale)
    return RowWeights(base_weights=(num_tokens.double() / total).float(), scale=scale)
