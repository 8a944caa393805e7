"""Estimates of KL divergences from the tokens that were drawn. Axes: row = responses, token = positions."""

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.rl.choices import KlEstimator, KlGradient
from drpt.rl.log_ratio import LARGEST_LOG_RATIO, is_cut, ratio_of


def k3(log_ratio: Float[Tensor, "row token"]) -> Float[Tensor, "row token"]:
    """``e^d − d − 1`` for ``d = log q(y) − log p(y)``: for y drawn from p, an unbiased estimate of KL(p‖q), never negative.

    Source: Schulman 2020, "Approximating KL divergence", k3 there. Departure: d is cut to at most 20, beyond which the estimate
    stays at ``e^20 − 21`` and has no gradient (`drpt.rl.log_ratio`). Below −20 nothing is cut: the estimate is all but
    ``−d − 1``, and the gradient that brings p back to q all but −1.

    Args:
        log_ratio: Log-ratios d in nats [row, token].

    Returns:
        Nats a token [row, token].
    """
    log_ratio = log_ratio.clamp(max=LARGEST_LOG_RATIO)
    return torch.expm1(log_ratio) - log_ratio  # expm1: d is often 1e-4, whose square float32's e^d − 1 would lose


def weighted_k3(
    log_ratio_old: Float[Tensor, "row token"], log_ratio_reference: Float[Tensor, "row token"], gradient: KlGradient
) -> Float[Tensor, "row token"]:
    """``ρ · k3`` with ``ρ = π(y)/π_old(y)`` and k3 towards the reference: the penalty's value at tokens drawn from π_old.

    Both are bounded, see `ratio_of` and `k3`; where one of them is cut, the penalty has no gradient. What follows holds within
    the bounds.

    Whatever ``gradient`` is, the value is unbiased for KL(π‖ref) of the next token, since ``E_old[ρ f] = E_π[f]``; the texts
    before the token stay those of π_old. The gradient is not that of the value in both cases:

    - ``k3``, ρ held constant: ``E_old[ρ ∇k3] = E_π[(1 − ref/π) ∇log π] = −Σ_y ref(y) ∇log π(y) = ∇KL(ref‖π)``, *the other*
      divergence. At ρ = 1 this is the gradient of GRPO's objective (Shao et al. 2024, eq. 4), which differentiates k3 alone.
    - ``ratio_k3``, through both: ``E_old[∇(ρ k3)] = ∇ E_old[ρ k3] = ∇KL(π‖ref)``. Source: DeepSeek-V3.2 (2025, arXiv
      2512.02556, eq. 7). At ρ = 1 it still differs from ``k3``: it is ``(log π − log ref) ∇log π``, bounded where π ≪ ref.

    Args:
        log_ratio_old: Log-ratios ``log π − log π_old`` in nats [row, token], with gradient.
        log_ratio_reference: Log-ratios ``log ref − log π`` of the same π in nats [row, token], with gradient.
        gradient: Factors that the gradient passes through.

    Returns:
        Nats a token [row, token].
    """
    ratio = ratio_of(log_ratio_old).detach()
    if gradient == KlGradient.K3:
        penalty = ratio * k3(log_ratio_reference)
    else:
        # ∇(ρ k3) = ρ (k3 + 1 − e^d) ∇log π = −ρ d ∇log π, said at once: in float32 k3 and e^d cancel each other for large d.
        slope = (-ratio * log_ratio_reference).detach()
        penalty = (ratio * k3(log_ratio_reference)).detach() + slope * (log_ratio_old - log_ratio_old.detach())
    return torch.where(is_cut(log_ratio_old) | (log_ratio_reference > LARGEST_LOG_RATIO), penalty.detach(), penalty)


def kl_estimate(log_ratio: Float[Tensor, "row token"], estimator: KlEstimator) -> Float[Tensor, "row token"]:
    """Estimate of KL(π‖ref) from each drawn token, with ``d = log π(y) − log ref(y)`` for y drawn from π.

    - ``k1``: d. ``E_π[d]`` is the divergence by definition; one token's may be negative.
    - ``k2``: d²/2. Never negative; its expectation is another divergence that agrees to second order where π ≈ ref.
    - ``k3``: ``e^−d − 1 + d``. Never negative and unbiased, since ``E_π[ref/π] = 1``.

    Source: Schulman 2020, "Approximating KL divergence".

    Args:
        log_ratio: Log-ratios d in nats [row, token].
        estimator: Estimator to compute.

    Returns:
        Nats a token [row, token].
    """
    if estimator == KlEstimator.K1:
        return log_ratio
    return 0.5 * log_ratio.square() if estimator == KlEstimator.K2 else k3(-log_ratio)
