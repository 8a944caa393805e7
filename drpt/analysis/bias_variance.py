"""Bias and variance of update directions, from one gramian over a pool of examples.

For a fixed model, let v* be the gradient of the population's target loss. Over random draws of n general and m target
examples, an update rule u has ``bias² = ‖E u − v*‖²``, ``variance = E ‖u − E u‖²``, and their sum as mean squared error.
Every u is a combination of examples' gradients, so all of these are quadratic forms in the pool's gramian.

Estimator. The pool is split into two disjoint halves, each with its own general, target and population examples. A draw takes
distinct examples of one half, so that each draw is a step of independent examples. With ū_h the mean update over draws from
half h, and v*_h the mean gradient of its population,

    bias² ≈ (ū_1 − v*_1) · (ū_2 − v*_2)        variance ≈ mean ‖u‖² − ū_1 · ū_2        error = their sum

are unbiased for every rule and any noise of draws, pool and v*, since the factors of every product are independent. Ratios to
``‖v*‖² ≈ v*_1 · v*_2`` are unbiased to first order.

Standard errors add two variances. To first order, every figure is a mean of some t over draws; the first variance is that of
this mean over draws. The second is due to the choice of the pool and comes from the infinitesimal jackknife (Efron 2014;
without replacement: Wager and Athey 2018). Example e of N contributes ``Cov(N_e, t)``, where N_e tells whether e was drawn;
the variance is ``(N/(N−n))² Σ_e Cov(N_e, t)²``, minus the part of the sum that is due to the finite number of draws. Examples
of the populations enter linearly.

With sketched gramians, rules choose by one sketch and are measured with another; otherwise the error of the sketch that chose
an update would make it look better than it is.

Axes: block = blocks of parameters, draw = resamples, pool = all examples.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from drpt.analysis.resampling import Draws, Pool, Resampled, Updates
from drpt.capture.regularizer import Regularizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """Figures of one update rule; squares are relative to ``‖v*‖²``."""

    bias_sq: float  # unbiased estimate, which may be slightly negative
    bias_sq_stderr: float
    variance: float
    variance_stderr: float
    mse: float
    mse_stderr: float
    cosine: float  # mean cos(u, v*)
    norm_ratio: float  # mean ‖u‖ over ‖v*‖
    num_failures: int  # number of solves that did not converge


def measure(
    rules: Sequence[Regularizer], pool: Pool, draws: Sequence[Draws], *, advance: Callable[[], None] = lambda: None
) -> list[Direction]:
    """Bias, variance and the rest for update rules that share a partition.

    Args:
        rules: Update rules, whose partition must be that of the pool's blocks.
        pool: Gramians of the pool, and its halves.
        draws: Draws from each half, at least two.
        advance: Callback for progress, called after each rule.

    Returns:
        The figures of each rule.

    Raises:
        TargetGradientError: ``‖v*‖²`` is within two standard errors of 0.
    """
    truth = _Truth(pool)
    truth.require_length()
    halves = [Resampled(pool, taken) for taken in draws]
    directions = []
    for rule in rules:
        directions.append(_direction(pool, truth, draws, [half.updates(rule) for half in halves]))
        advance()
    return directions


class TargetGradientError(ValueError):
    """The population's gradient v* cannot be distinguished from noise, so nothing can be measured against it."""


class _Truth:
    """v* of both halves, as weights of the pool's examples, and its inner products with them in every block."""

    def __init__(self, pool: Pool) -> None:
        self.weights = [pool.population_weights(half) for half in (0, 1)]
        self.field = [torch.einsum("bpq,q->bp", pool.gramian, weights) for weights in self.weights]
        self.size = float(self.field[0].sum(dim=0) @ self.weights[1])  # ‖v*‖², unbiased
        square = 0.0
        for half in (0, 1):
            inner = self.field[1 - half].sum(dim=0)[pool.population[half]]
            square += float(inner.var()) / len(inner)
        self.size_stderr = math.sqrt(square)

    def require_length(self) -> None:
        """Refuse a v* that cannot be distinguished from noise."""
        if not self.size > 2 * self.size_stderr:
            raise TargetGradientError(
                f"‖v*‖² = {self.size:.3g} ± {self.size_stderr:.3g} over the population: the target gradient cannot be "
                "distinguished from noise, so nothing can be measured against it. Raise --pool; after much training the "
                "gradient may have vanished."
            )


def target_size(pool: Pool) -> tuple[float, float]:
    """``‖v*‖²`` and its standard error over the population.

    Args:
        pool: Gramians of the pool, in any partition.

    Returns:
        Estimate and standard error, in the gradients' squared unit.
    """
    truth = _Truth(pool)
    return truth.size, truth.size_stderr


def _direction(pool: Pool, truth: _Truth, draws: Sequence[Draws], updates: Sequence[Updates]) -> Direction:
    means = [_mean(pool, draws[half], updates[half]) for half in (0, 1)]
    gaps = [means[half] - truth.weights[half] for half in (0, 1)]  # ū − v*, as weights
    gap_fields = [torch.einsum("bpq,bq->bp", pool.gramian, gap) for gap in gaps]  # <example, ū − v*>
    fields = [gap_fields[half] + truth.field[half] for half in (0, 1)]  # <example, ū>
    bias_sq = float((gap_fields[0] * gaps[1]).sum()) / truth.size
    squares = [found.squares / truth.size for found in updates]
    variance = float((squares[0].mean() + squares[1].mean()) / 2 - (fields[0] * means[1]).sum() / truth.size)
    # Contributions of each draw, and of each population example, to the figures, with the other half's means fixed.
    in_bias = [_inner(draws[half], updates[half], gap_fields[1 - half]) / truth.size for half in (0, 1)]
    in_variance = [squares[half] / 2 - _inner(draws[half], updates[half], fields[1 - half]) / truth.size for half in (0, 1)]
    pull = [gap_fields[1 - half].sum(dim=0)[pool.population[half]] / truth.size for half in (0, 1)]
    size_pull = [truth.field[1 - half].sum(dim=0)[pool.population[half]] / truth.size for half in (0, 1)]

    def stderr(of_bias: float, of_variance: float, figure: float) -> float:
        square = 0.0
        for half in (0, 1):
            terms = of_bias * in_bias[half] + of_variance * in_variance[half]
            square += float(terms.var()) / len(terms)
            square += _jackknife(draws[half].general, terms, len(pool.general[half]))
            square += _jackknife(draws[half].target, terms, len(pool.target[half]))
            of_population = of_bias * pull[half] + figure * size_pull[half]
            square += float(of_population.var()) / len(of_population)
        return math.sqrt(square)

    centre = (truth.field[0] + truth.field[1]) / 2
    length = truth.size**0.5
    norm = torch.cat([found.squares.clamp(min=0).sqrt() for found in updates])
    inner = torch.cat([_inner(draws[half], updates[half], centre) for half in (0, 1)])
    return Direction(
        bias_sq=bias_sq,
        bias_sq_stderr=stderr(1.0, 0.0, bias_sq),
        variance=variance,
        variance_stderr=stderr(0.0, 1.0, variance),
        mse=bias_sq + variance,
        mse_stderr=stderr(1.0, 1.0, bias_sq + variance),
        cosine=float(torch.where(norm > 0, inner / (norm.clamp(min=1e-300) * length), 0.0).mean()),
        norm_ratio=float(norm.mean()) / length,
        num_failures=sum(found.num_failures for found in updates),
    )


def _mean(pool: Pool, draws: Draws, updates: Updates) -> Float[Tensor, "block pool"]:
    """The mean update over draws, as weights of the pool's examples."""
    num_blocks, num_draws, _ = updates.coefficients.shape
    mean = pool.gramian.new_zeros(num_blocks, pool.gramian.shape[1])
    index = draws.rows.reshape(1, -1).expand(num_blocks, -1)
    return mean.scatter_add(1, index, updates.coefficients.flatten(1) / num_draws)


def _inner(draws: Draws, updates: Updates, field: Float[Tensor, "block pool"]) -> Float[Tensor, " draw"]:
    """``<u, x>`` for every draw, where x is given by its inner products with the examples."""
    return torch.einsum("bdr,bdr->d", updates.coefficients, field[:, draws.rows])


def _jackknife(taken: Int[Tensor, "draw count"], terms: Float[Tensor, " draw"], num_examples: int) -> float:
    """Variance of the mean of ``terms`` due to the choice of the pool's examples of one kind (formula above).

    Args:
        taken: Indices of the examples in each draw [draw, count].
        terms: The terms t [draw].
        num_examples: Number N of examples of this kind in the half.

    Returns:
        The variance, at least 0; infinite if every draw takes all N examples, so that it cannot be estimated.
    """
    num_draws, count = taken.shape
    if count == num_examples:
        return math.inf
    centred = terms - terms.mean()
    places = taken.unique(return_inverse=True)[1]
    counts = terms.new_zeros(num_draws, int(places.max()) + 1).scatter_(1, places, 1.0)
    covariances = (counts * centred[:, None]).mean(dim=0)
    from_draws = float(counts.var(dim=0).sum() * centred.var()) / num_draws
    scale = (num_examples / (num_examples - count)) ** 2
    return scale * max(float(covariances.square().sum()) - from_draws, 0.0)
