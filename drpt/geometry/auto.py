"""Strength without tuning: the dial with the smallest estimated error of the direction, from the step's own products.

Let v be the mean of m target examples' gradients, independent draws around v*, and ``u_θ = (1−ρ) P_λ(v) + ρ v`` the update
under the dials θ = (λ, ρ). Given the general examples, Stein's identity in Efron's form (2004, covariance penalties) reads

    E ‖u_θ − v*‖² = E ‖u_θ − v‖² + 2 Cov(u_θ, v) − V,    V = E ‖v − v*‖²,    Cov(u, v) = E <u, v − v*>

and the right-hand side can be estimated without knowing v*: with ``d_j = v_j − v``,

    V ≈ Σ_j ‖d_j‖² / (m (m−1))                                    the spread among the target examples
    Cov(u, v) ≈ Σ_j <u(v) − u(v − d_j/(m−1)), d_j> / m             each example left out in turn (jackknife)

For any u the mean of the last estimate is ``(m−1)/m`` times the covariance with m − 1 target examples. Where u is affine in v
(ball, span, any face of a hull) that is the covariance itself; elsewhere it is somewhat too small for small m: by 15 % for a
hull and 26 % for top-k at m = 2 in a trial on Gaussians, by a negligible amount at m = 8.

ρ has a closed form: with ``D = ‖P(v) − v‖²`` and ``C = Cov(P(v), v)`` the error ``(1−ρ)² D − 2 (1−ρ) (V − C) + V`` is smallest
at ``1 − ρ = (V − C)/D``, clipped to [0, 1]. For the ball, P(v) = ḡ and C = 0, this is James and Stein's shrinkage of v towards
ḡ by V/D (1961). λ is taken from a grid.

Estimates are averaged over steps in each block, an older step counting ``memory`` times the next one's weight, so that the
choice follows training and not the luck of one step. Assumptions: target rows are independent draws, m ≥ 2, and the noise of v
has many directions, so that the choice itself costs little. Each block has its own dials.

Axes: block = blocks, candidate = strengths of the grid, target = target examples.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.finite import require_finite
from drpt.geometry.products import Coefficients, GeneralRows, Products
from drpt.geometry.score import Score
from drpt.geometry.solution import Solution


class AutoStrength:
    """Chooses strength, relaxation or both in every block of every step.

    Args:
        candidates: The set at each strength of the grid.
        strengths: Strengths of the candidates, None for a candidate whose strength is not chosen; or None for the ball, whose
            only candidate is the general mean and whose strength is the mean's share.
        score: The score, for sets that rank.
        relaxation: Fixed ρ in [0, 1]; None to choose ρ too.
        memory: Weight of the last step's average against this step's estimate, in [0, 1).
    """

    def __init__(
        self,
        candidates: Sequence[FeasibleSet],
        strengths: Sequence[float | None] | None,
        score: Score,
        *,
        relaxation: float | None,
        memory: float,
    ) -> None:
        self._candidates = tuple(candidates)
        self._strengths = strengths
        self._score = score
        self._relaxation = relaxation
        self._memory = memory
        self._averages: dict[int, Tensor] = {}

    def coefficients(self, rows: GeneralRows, products: Products, blocks: Sequence[int]) -> Coefficients:
        """Coefficients under the dials with the smallest estimated error.

        Args:
            rows: The general examples.
            products: Inner products with the gramian, the cross products and the target gramian.
            blocks: Index of each block in the partition.

        Returns:
            ``c`` [block, general] and ``a`` [block], with the dials that were chosen.

        Raises:
            ValueError: There is only one target example, whose spread is unknown.
        """
        if products.cross is None or products.cross.shape[2] < 2:
            raise ValueError(
                "an automatic strength needs at least two target examples in every step: data.target_rows=2 or more."
            )
        projected = [self._project(candidate, rows, products, blocks) for candidate in self._candidates]
        noise = _noise(products)
        distances = torch.stack([_distance(found, products) for found in projected], dim=1)
        covariances = torch.stack(
            [
                self._covariance(candidate, found, rows, products, blocks, noise)
                for candidate, found in zip(self._candidates, projected, strict=True)
            ],
            dim=1,
        )
        require_finite(torch.cat([distances, covariances], dim=1), "estimates of the error")
        estimates = self._averaged(torch.cat([distances, covariances, noise[:, None]], dim=1), blocks)
        count = len(self._candidates)
        share, risk = estimated_risk(
            estimates[:, :count], estimates[:, count:-1], estimates[:, -1:], relaxation=self._relaxation
        )
        return _pick(projected, risk.argmin(dim=1), share, self._strengths)

    def state_dict(self) -> dict[str, Any]:
        """The averages over the steps so far, for a checkpoint."""
        return {str(block): average for block, average in self._averages.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the averages of a checkpoint."""
        self._averages = {int(block): average for block, average in state.items()}

    def _project(self, candidate: FeasibleSet, rows: GeneralRows, products: Products, blocks: Sequence[int]) -> Coefficients:
        scores = self._score(rows, products, blocks) if candidate.takes_score else None
        return candidate.project(rows, products, scores, len(blocks))

    def _covariance(
        self,
        candidate: FeasibleSet,
        found: Coefficients,
        rows: GeneralRows,
        products: Products,
        blocks: Sequence[int],
        noise: Tensor,
    ) -> Tensor:
        """``Cov(P(v), v)`` by leaving out one target example after another [block]."""
        if not (candidate.needs_products or candidate.takes_score):  # P(v) = const + a v
            return found.target.double() * noise
        assert products.cross is not None
        assert products.target_gramian is not None
        num_blocks, n, m = products.cross.shape
        everywhere = [block for block in blocks for _ in range(m)]
        rows_of_all = (
            rows
            if rows.base_weights.ndim == 1
            else replace(rows, base_weights=rows.weights(num_blocks).repeat_interleave(m, 0))
        )
        without = self._project(candidate, rows_of_all, _leaving_out(products), everywhere)
        general = found.general.double()[:, None] - without.general.double().view(num_blocks, m, n)
        target, target_without = found.target.double()[:, None], without.target.double().view(num_blocks, m)
        spread = products.cross.double() - products.alignment.double()[:, :, None]  # <g_i, d_j>
        mean_spread = products.target_gramian.double().mean(dim=1) - products.target_sq.double()[:, None]  # <v, d_j>
        own = _deviations(products)  # ‖d_j‖²
        inner = (
            torch.einsum("bji,bij->bj", general, spread)
            + (target - target_without) * mean_spread
            + target_without * own / (m - 1)
        )
        return inner.mean(dim=1)

    def _averaged(self, estimates: Tensor, blocks: Sequence[int]) -> Tensor:
        if self._memory == 0.0:
            return estimates
        rows = []
        for estimate, block in zip(estimates, blocks, strict=True):
            before = self._averages.get(block)
            # All terms of a comparison have the same weights: their sums need not be divided.
            now = estimate if before is None else self._memory * before.to(estimate) + estimate
            self._averages[block] = now
            rows.append(now)
        return torch.stack(rows)


def estimated_risk(
    distances: Float[Tensor, "block candidate"],
    covariances: Float[Tensor, "block candidate"],
    noise: Float[Tensor, "block 1"],
    *,
    relaxation: float | None,
) -> tuple[Float[Tensor, "block candidate"], Float[Tensor, "block candidate"]]:
    """The share ``1 − ρ`` of the projection, and the error ``(1−ρ)² D − 2 (1−ρ) (V − C) + V`` that is expected of it.

    Args:
        distances: Squared distances D [block, candidate].
        covariances: Covariances C [block, candidate].
        noise: Variance V of the target gradient [block, 1].
        relaxation: Fixed ρ in [0, 1]; None for the best one.

    Returns:
        Share and error of every candidate.
    """
    if relaxation is None:
        gain = noise - covariances
        share = torch.where(distances > 0, gain / torch.where(distances > 0, distances, 1.0), 1.0).clamp(0.0, 1.0)
    else:
        share = torch.full_like(distances, 1.0 - relaxation)
    return share, share**2 * distances - 2 * share * (noise - covariances) + noise


def _deviations(products: Products) -> Tensor:
    """``‖v_j − v‖²`` [block, target]."""
    assert products.target_gramian is not None
    gramian = products.target_gramian.double()
    own = torch.diagonal(gramian, dim1=1, dim2=2)
    return own - 2 * gramian.mean(dim=1) + gramian.mean(dim=(1, 2))[:, None]


def _noise(products: Products) -> Tensor:
    deviations = _deviations(products)
    require_finite(deviations, "inner products")
    m = deviations.shape[1]
    return deviations.sum(dim=1).clamp(min=0) / (m * (m - 1))


def _distance(found: Coefficients, products: Products) -> Tensor:
    """``‖u − v‖²`` [block]."""
    assert products.gramian is not None
    general, rest = found.general.double(), found.target.double() - 1.0
    square = torch.einsum("bi,bij,bj->b", general, products.gramian.double(), general)
    inner = (general * products.alignment.double()).sum(dim=1)
    return (square + 2 * rest * inner + rest**2 * products.target_sq.double()).clamp(min=0)


def _leaving_out(products: Products) -> Products:
    """Products with ``v − d_j/(m−1)``, the mean without example j, in place of v: m for every block, one after another."""
    assert products.cross is not None
    assert products.target_gramian is not None
    assert products.gramian is not None
    num_blocks, n, m = products.cross.shape
    alignment = (products.alignment[:, :, None] * m - products.cross) / (m - 1)
    gramian = products.target_gramian
    total = gramian.sum(dim=(1, 2))[:, None] - 2 * gramian.sum(dim=1) + torch.diagonal(gramian, dim1=1, dim2=2)
    return Products(
        alignment=alignment.mT.reshape(num_blocks * m, n),
        target_sq=(total.clamp(min=0) / (m - 1) ** 2).flatten(),
        gramian=products.gramian.repeat_interleave(m, dim=0),
    )


def _pick(
    projected: Sequence[Coefficients], best: Tensor, shares: Tensor, strengths: Sequence[float | None] | None
) -> Coefficients:
    places = torch.arange(len(best), device=best.device)
    share = shares[places, best]
    general = torch.stack([found.general for found in projected], dim=1)[places, best]
    target = torch.stack([found.target for found in projected], dim=1)[places, best]
    if strengths is None:
        strength = share
    else:
        grid = torch.tensor([float("nan") if value is None else value for value in strengths], dtype=torch.float64)
        strength = grid.to(best.device)[best]
    return Coefficients(
        general=share[:, None].to(general) * general,
        target=share.to(target) * target + (1.0 - share).to(target),
        solved=_pick_solution([found.solved for found in projected], best),
        strength=strength,
        relaxation=None if strengths is None else 1.0 - share,
    )


def _pick_solution(solutions: Sequence[Solution | None], best: Tensor) -> Solution | None:
    known = [solution for solution in solutions if solution is not None]
    if len(known) < len(solutions):
        return None
    places = torch.arange(len(best), device=best.device)

    def pick(name: str) -> Tensor:
        picked: Tensor = torch.stack([getattr(solution, name) for solution in known], dim=1)[places, best]
        return picked

    return Solution(
        coefficients=pick("coefficients"),
        residual=pick("residual"),
        num_steps=pick("num_steps"),
        is_converged=pick("is_converged"),
    )
