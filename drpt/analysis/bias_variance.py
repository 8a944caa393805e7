"""Bias and variance of update directions, from one gramian over a pool of examples.

For a fixed model, let v* be the gradient of the population's target loss. Over random draws of n general and m target
examples an update rule u has ``bias² = ‖E u − v*‖²``, ``variance = E ‖u − E u‖²`` and mean squared error their sum. Every u
is a combination of examples' gradients, so all of it is quadratic forms in the pool's gramian.

Estimator. The pool is cut into two halves that share no example, each with general, target and population examples of its
own. With ū_h the mean update over draws from half h, and v*_h the mean over its population, ``(ū_1 − v*_1) · (ū_2 − v*_2)`` is
unbiased for bias², whatever the noise of the draws, of the pool and of v*: the two factors are independent. The variance is
the draws' sample variance within a half, times N/(N−1) for drawing with replacement from N examples (exact where u is linear
in them, and right to 1/N where it is not).

Standard errors have two parts, added in squares. Every figure is, to first order, a mean over draws of some t: its variance
over draws is one part. The other is the pool's own, by the infinitesimal jackknife (Efron 2014): giving example e more weight
in the pool moves the mean of t by ``N Cov(N_e, t)``, N_e being how often e was drawn, so that the mean has variance
``Σ_e Cov(N_e, t)²``, less what the finite number of draws adds to that sum. Examples of the populations enter linearly.

Where gramians come from sketches, rules choose by one sketch and are measured with another: an update must not look good
because the sketch that chose it flatters it.

Axes: block = blocks of parameters, draw = resamples, pool = all examples.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.analysis.resampling import Draws, Pool, Updates, resample
from drpt.geometry.regularizer import Regularizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """Figures of one update rule; squares are relative to ``‖v*‖²``."""

    bias_sq: float  # may be a little negative: it is unbiased
    bias_sq_stderr: float
    variance: float
    variance_stderr: float
    mse: float
    mse_stderr: float
    cosine: float  # mean cos(u, v*)
    norm_ratio: float  # mean ‖u‖ over ‖v*‖
    num_failures: int  # solves that did not converge


def measure(
    rules: Sequence[Regularizer], pool: Pool, draws: Sequence[Draws], *, advance: Callable[[], None] = lambda: None
) -> list[Direction]:
    """Bias, variance and the rest for update rules that share a partition.

    Args:
        rules: Their partition must be that of the pool's blocks.
        pool: Gramians and halves.
        draws: One a half; at least two in each.
        advance: Called after each rule and half, to show progress.

    Returns:
        The figures of each rule.
    """
    truth = _Truth(pool)
    halves = []
    for taken in draws:
        updates = []
        for found in resample(rules, pool, taken):
            updates.append(found)
            advance()
        halves.append(updates)
    return [_direction(pool, truth, draws, pair) for pair in zip(*halves, strict=True)]


class _Truth:
    """v* of both halves: as weights of the pool's examples, and its inner product with each of them in every block."""

    def __init__(self, pool: Pool) -> None:
        self.weights = [pool.population_weights(half) for half in (0, 1)]
        self.field = [torch.einsum("bpq,q->bp", pool.gramian, weights) for weights in self.weights]
        self.size = float(self.field[0].sum(dim=0) @ self.weights[1])  # ‖v*‖², unbiased


def _direction(pool: Pool, truth: _Truth, draws: Sequence[Draws], updates: Sequence[Updates]) -> Direction:
    means = [_mean(pool, draws[half], updates[half]) for half in (0, 1)]
    gaps = [means[half] - truth.weights[half] for half in (0, 1)]  # ū − v*, as weights
    fields = [torch.einsum("bpq,bq->bp", pool.gramian, gap) for gap in gaps]  # <example, ū − v*>
    bias_sq = float((fields[0] * gaps[1]).sum()) / truth.size
    # What each draw, and each example of a population, adds to the figures; the other half's gap is held fixed.
    apart = [_inner(draws[half], updates[half], fields[1 - half]) / truth.size for half in (0, 1)]
    spread = [_spread(pool, draws[half], updates[half], means[half], half) / truth.size for half in (0, 1)]
    pull = [fields[1 - half].sum(dim=0)[pool.population[half]] / truth.size for half in (0, 1)]
    size_pull = [truth.field[1 - half].sum(dim=0)[pool.population[half]] / truth.size for half in (0, 1)]
    variance = float((spread[0].mean() + spread[1].mean()) / 2)

    def stderr(in_bias: float, in_variance: float, figure: float) -> float:
        square = 0.0
        for half in (0, 1):
            terms = in_bias * apart[half] + in_variance * spread[half] / 2
            square += float(terms.var()) / len(terms) + _jackknife(draws[half], terms)
            of_population = in_bias * pull[half] + figure * size_pull[half]
            square += float(of_population.var()) / len(of_population)
        return math.sqrt(square)

    centre = (truth.field[0] + truth.field[1]) / 2
    length = max(truth.size, 1e-300) ** 0.5
    norms = [found.squares.clamp(min=0).sqrt() for found in updates]
    inners = [_inner(draws[half], updates[half], centre) for half in (0, 1)]
    norm, inner = torch.cat(norms), torch.cat(inners)
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
    """The mean update over draws as weights of the pool's examples."""
    num_blocks, num_draws, _ = updates.coefficients.shape
    mean = pool.gramian.new_zeros(num_blocks, pool.gramian.shape[1])
    index = draws.rows.reshape(1, -1).expand(num_blocks, -1)
    return mean.scatter_add(1, index, updates.coefficients.flatten(1) / num_draws)


def _inner(draws: Draws, updates: Updates, field: Float[Tensor, "block pool"]) -> Float[Tensor, " draw"]:
    """``<u, x>`` of every draw, x given by its inner product with each example."""
    return torch.einsum("bdr,bdr->d", updates.coefficients, field[:, draws.rows])


def _spread(pool: Pool, draws: Draws, updates: Updates, mean: Float[Tensor, "block pool"], half: int) -> Tensor:
    """``‖u − ū‖²`` of every draw, scaled so that its mean is unbiased for the variance."""
    field = torch.einsum("bpq,bq->bp", pool.gramian, mean)
    squares = updates.squares - 2 * _inner(draws, updates, field) + (field * mean).sum()
    num_draws, num_examples = len(squares), len(pool.target[half])
    return squares * num_draws / (num_draws - 1) * num_examples / (num_examples - 1)


def _jackknife(draws: Draws, terms: Float[Tensor, " draw"]) -> float:
    """Variance of the mean of ``terms`` that the choice of the pool's examples causes; see the module's text."""
    total = 0.0
    centred = terms - terms.mean()
    num_draws = len(terms)
    for rows in (draws.general, draws.target):
        taken = rows.unique(return_inverse=True)[1]
        counts = terms.new_zeros(num_draws, int(taken.max()) + 1)
        counts.scatter_add_(1, taken, torch.ones_like(taken, dtype=terms.dtype))
        covariances = (counts * centred[:, None]).mean(dim=0)
        from_draws = float(counts.var(dim=0).sum() * centred.var()) / num_draws
        total += max(float(covariances.square().sum()) - from_draws, 0.0)
    return total
