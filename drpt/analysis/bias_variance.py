"""Bias and variance of update directions, from one gramian over a pool of examples.

For a fixed model, let v* be the gradient of the population's target loss. Over random draws of n general and m target
examples an update rule u has ``bias² = ‖E u − v*‖²``, ``variance = E ‖u − E u‖²`` and mean squared error their sum. Every u
is a combination of examples' gradients, so all of it is quadratic forms in the pool's gramian.

Estimator. The pool is cut into two halves that share no example, each with general, target and population examples of its
own. With ū_h the mean update over draws from half h, and v*_h the mean over its population, ``(ū_1 − v*_1) · (ū_2 − v*_2)`` is
unbiased for bias², whatever the noise of the draws, of the pool and of v*: the two factors are independent. The variance is
the draws' sample variance within a half, times N/(N−1) for drawing with replacement from N examples (exact where u is linear
in them, and right to 1/N where it is not). Standard errors are over groups of draws.

Where gramians come from sketches, rules choose by one sketch and are measured with another: an update must not look good
because the sketch that chose it flatters it.

Axes: block = blocks of parameters, draw = resamples, pool = all examples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from drpt.geometry.products import GeneralRows, Products
from drpt.geometry.regularizer import Regularizer

_GROUPS = 10
_CHUNK_ELEMENTS = 2**23  # entries of small gramians held at once: 64 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Gramians a block over the whole pool, and which examples belong to which half."""

    gramian: Float[Tensor, "block pool pool"]  # float64; measured with
    choosing: Float[Tensor, "block pool pool"]  # what the rules see: the same, or that of an independent sketch
    general: tuple[Int[Tensor, " general"], Int[Tensor, " general"]]
    target: tuple[Int[Tensor, " target"], Int[Tensor, " target"]]
    population: tuple[Int[Tensor, " population"], Int[Tensor, " population"]]

    def population_weights(self, half: int) -> Float[Tensor, " pool"]:
        """v* of a half as weights of the pool's examples: the mean over its population."""
        weights = self.gramian.new_zeros(self.gramian.shape[1])
        weights[self.population[half]] = 1.0 / len(self.population[half])
        return weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Which examples of the pool each draw takes; the same draws serve every rule."""

    general: Int[Tensor, "draw n"]
    target: Int[Tensor, "draw m"]


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


def draw(pool: Pool, *, num_draws: int, general_rows: int, target_rows: int, seed: int) -> tuple[Draws, Draws]:
    """Draw examples with replacement from each half.

    Args:
        pool: Where from.
        num_draws: How often, in each half.
        general_rows: n.
        target_rows: m.
        seed: The same seed gives the same draws on every machine.

    Returns:
        Draws from the first and from the second half.
    """
    generator = torch.Generator().manual_seed(seed)

    def take(examples: Tensor, count: int) -> Tensor:
        return examples[torch.randint(len(examples), (num_draws, count), generator=generator)]

    first, second = (
        Draws(general=take(pool.general[half], general_rows), target=take(pool.target[half], target_rows)) for half in (0, 1)
    )
    return first, second


def measure(rule: Regularizer, pool: Pool, draws: Sequence[Draws]) -> Direction:
    """Bias, variance and the rest for one update rule.

    Args:
        rule: Its partition must be that of the pool's blocks.
        pool: Gramians and halves.
        draws: One a half, equally many; a multiple of ten, at least twenty.

    Returns:
        The figures.

    Raises:
        ValueError: The draws cannot be grouped for standard errors.
    """
    num_draws = len(draws[0].general)
    if num_draws % _GROUPS or num_draws < 2 * _GROUPS:
        raise ValueError(f"draws must be a multiple of {_GROUPS}, at least {2 * _GROUPS}, not {num_draws}.")
    K = pool.gramian
    truths = [pool.population_weights(half) for half in (0, 1)]
    truth = (truths[0] + truths[1]) / 2
    scale = float(torch.einsum("p,bpq,q->", truths[0], K, truths[1]))  # ‖v*‖², unbiased
    squares: list[Tensor] = []
    inners: list[Tensor] = []
    means: list[Tensor] = []
    num_failures = 0
    for half in (0, 1):
        weights, failures = _update_weights(rule, pool, draws[half])
        num_failures += failures
        mapped = torch.einsum("bdp,bpq->bdq", weights, K)
        squares.append((mapped * weights).sum(dim=(0, 2)))
        inners.append(torch.einsum("bdq,q->d", mapped, truth))
        means.append(weights.unflatten(1, (_GROUPS, -1)).mean(dim=2))  # [block, group, pool]
    variances: list[Tensor] = []
    for half in (0, 1):
        mean_sq = torch.einsum("bgp,bpq,bgq->g", means[half], K, means[half])
        size = num_draws // _GROUPS
        from_draws = (squares[half].view(_GROUPS, -1).sum(dim=1) - size * mean_sq) / (size - 1)
        num_examples = len(pool.target[half])
        variances.append(from_draws * num_examples / (num_examples - 1))
    biases = torch.einsum("bgp,bpq,bgq->g", means[0] - truths[0], K, means[1] - truths[1])
    overall = [mean.mean(dim=1) for mean in means]
    bias_sq = float(torch.einsum("bp,bpq,bq->", overall[0] - truths[0], K, overall[1] - truths[1])) / scale
    variance = (variances[0] + variances[1]) / 2 / scale
    cosines = [inner / (square.clamp(min=1e-300).sqrt() * scale**0.5) for inner, square in zip(inners, squares, strict=True)]
    return Direction(
        bias_sq=bias_sq,
        bias_sq_stderr=_stderr(biases / scale),
        variance=float(variance.mean()),
        variance_stderr=_stderr(variance),
        mse=bias_sq + float(variance.mean()),
        mse_stderr=_stderr(biases / scale + variance),
        cosine=float(torch.cat(cosines).mean()),
        norm_ratio=float(torch.cat(squares).clamp(min=0).sqrt().mean()) / scale**0.5,
        num_failures=num_failures,
    )


def _stderr(groups: Tensor) -> float:
    return float(groups.std()) / math.sqrt(len(groups))


def _update_weights(rule: Regularizer, pool: Pool, draws: Draws) -> tuple[Tensor, int]:
    """Every draw's update as weights of the pool's examples [block, draw, pool], and how many solves failed."""
    K = pool.choosing
    num_blocks, num_pool = K.shape[:2]
    num_draws, n = draws.general.shape
    rows = GeneralRows(base_weights=K.new_full((n,), 1.0 / n), example_ids=torch.arange(n), draw=0)
    chunk = max(1, _CHUNK_ELEMENTS // (num_blocks * n * max(n, draws.target.shape[1])))
    weights = K.new_zeros(num_blocks, num_draws, num_pool)
    num_failures = 0
    for start in range(0, num_draws, chunk):
        taken = slice(start, min(start + chunk, num_draws))
        general, target = draws.general[taken], draws.target[taken]
        count = len(general)
        products = _products(rule, K, general, target) if rule.needs_products else None
        # A number for each draw and block, so that random scores differ between all of them.
        places = [(start + d) * num_blocks + b for b in range(num_blocks) for d in range(count)]
        found = rule.coefficients(rows, products, places)
        if found.solved is not None:
            num_failures += int((~found.solved.is_converged).sum())
        part = K.new_zeros(num_blocks, count, num_pool)
        part.scatter_add_(2, general.expand(num_blocks, -1, -1), found.general.view(num_blocks, count, n))
        share = (found.target.view(num_blocks, count, 1) / target.shape[1]).expand(-1, -1, target.shape[1])
        part.scatter_add_(2, target.expand(num_blocks, -1, -1), share)
        weights[:, taken] = part
    return weights, num_failures


def _products(rule: Regularizer, K: Tensor, general: Tensor, target: Tensor) -> Products:
    alignment = K[:, general[:, :, None], target[:, None, :]].mean(dim=3).flatten(0, 1)
    target_sq = K[:, target[:, :, None], target[:, None, :]].mean(dim=(2, 3)).flatten(0, 1)
    gramian = K[:, general[:, :, None], general[:, None, :]].flatten(0, 1) if rule.needs_gramian else None
    return Products(alignment=alignment, target_sq=target_sq, gramian=gramian)
