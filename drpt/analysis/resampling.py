"""Drawing steps from a pool of examples, and every rule's coefficients on them, from the pool's gramians alone.

Axes: block = blocks of parameters, pool = all examples, draw = resampled steps, row = a draw's n general and m target rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from drpt.capture.options import BaseWeights
from drpt.capture.regularizer import Regularizer
from drpt.geometry.products import GeneralRows, Products

_CHUNK_ELEMENTS = 2**23  # entries of small gramians held at once: 64 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Gramians a block over the whole pool, and which examples belong to which half."""

    gramian: Float[Tensor, "block pool pool"]  # float64; measured with
    choosing: Float[Tensor, "block pool pool"]  # what the rules see: the same, or that of an independent sketch
    num_tokens: Int[Tensor, " pool"]  # loss tokens of each example, for token weights
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

    @property
    def rows(self) -> Int[Tensor, "draw row"]:
        """All examples of a draw, general ones first."""
        return torch.cat([self.general, self.target], dim=1)


@dataclass(frozen=True, slots=True)
class Updates:
    """One rule's updates over the draws of one half: ``u = Σ coefficients · gradients of the draw's rows``."""

    coefficients: Float[Tensor, "block draw row"]  # a/m for each target row
    squares: Float[Tensor, " draw"]  # ‖u‖² over all blocks
    num_failures: int  # solves that did not converge


def draw(pool: Pool, *, num_draws: int, general_rows: int, target_rows: int, seed: int) -> tuple[Draws, Draws]:
    """Draw the examples of steps from each half, no example twice in a step.

    Each draw by itself is then a step of independent examples, as in training; draws share examples with each other.

    Args:
        pool: Where from.
        num_draws: How often, in each half.
        general_rows: n.
        target_rows: m.
        seed: The same seed gives the same draws on every machine.

    Returns:
        Draws from the first and from the second half.

    Raises:
        ValueError: A half has fewer examples than a step needs.
    """
    generator = torch.Generator().manual_seed(seed)

    def take(examples: Tensor, count: int, kind: str) -> Tensor:
        if count > len(examples):
            raise ValueError(
                f"a step takes {count} {kind} examples, but half of the pool has {len(examples)}: raise --pool or lower --rows."
            )
        return examples[torch.rand(num_draws, len(examples), generator=generator).argsort(dim=1)[:, :count]]

    first, second = (
        Draws(
            general=take(pool.general[half], general_rows, "general"),
            target=take(pool.target[half], target_rows, "target"),
        )
        for half in (0, 1)
    )
    return first, second


class Resampled:
    """The draws of one half with all that rules look at, laid out once for all rules.

    Args:
        pool: Rules choose by ``choosing``; squares are measured with ``gramian``.
        draws: From one half.
    """

    def __init__(self, pool: Pool, draws: Draws) -> None:
        self._chunks = list(_chunks(pool, draws))

    def updates(self, rule: Regularizer) -> Updates:
        """One rule's updates; its partition must be that of the pool's blocks."""
        parts = [_apply(rule, chunk) for chunk in self._chunks]
        return Updates(
            coefficients=torch.cat([part[0] for part in parts], dim=1),
            squares=torch.cat([part[1] for part in parts]),
            num_failures=sum(part[2] for part in parts),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """Some draws with all that any rule looks at; blocks times draws are the rules' blocks, draws running fastest."""

    products: Products
    measuring: Float[Tensor, "block draw row row"]
    weights: dict[BaseWeights, Float[Tensor, "problem n"]]
    places: list[int]  # names each draw and block, so that random scores differ between all of them


def _chunks(pool: Pool, draws: Draws) -> Iterator[_Chunk]:
    num_blocks = pool.gramian.shape[0]
    num_draws, num_rows = draws.rows.shape
    n = draws.general.shape[1]
    # Automatic strengths leave out one target example after another: m times the gramians.
    size = max(1, _CHUNK_ELEMENTS // (num_blocks * num_rows**2 * draws.target.shape[1]))
    for start in range(0, num_draws, size):
        rows = draws.rows[start : start + size]
        chosen = _small_gramians(pool.choosing, rows)
        measuring = chosen if pool.choosing is pool.gramian else _small_gramians(pool.gramian, rows)
        joint = chosen.flatten(0, 1)
        cross, target_gramian = joint[:, :n, n:], joint[:, n:, n:]
        counts = pool.num_tokens[rows[:, :n]].to(joint)
        by_token = counts / counts.sum(dim=1, keepdim=True)
        yield _Chunk(
            products=Products(
                alignment=cross.mean(dim=2),
                target_sq=target_gramian.mean(dim=(1, 2)),
                gramian=joint[:, :n, :n],
                cross=cross,
                target_gramian=target_gramian,
            ),
            measuring=measuring,
            weights={
                BaseWeights.EXAMPLE: joint.new_full((len(joint), n), 1.0 / n),
                BaseWeights.TOKEN: by_token.repeat(num_blocks, 1),
            },
            places=[(start + d) * num_blocks + b for b in range(num_blocks) for d in range(len(rows))],
        )


def _small_gramians(gramian: Tensor, rows: Tensor) -> Tensor:
    """The draws' own gramians [block, draw, row, row]."""
    return gramian[:, rows[:, :, None], rows[:, None, :]]


def _apply(rule: Regularizer, chunk: _Chunk) -> tuple[Tensor, Tensor, int]:
    num_blocks, num_draws, num_rows = chunk.measuring.shape[:3]
    weights = chunk.weights[rule.base_weights]
    n = weights.shape[1]
    rows = GeneralRows(base_weights=weights, example_ids=torch.arange(n), step_index=0)
    found = rule.coefficients(rows, chunk.products, chunk.places)
    target = (found.target / (num_rows - n))[:, None].expand(-1, num_rows - n)
    coefficients = torch.cat([found.general, target], dim=1).view(num_blocks, num_draws, num_rows)
    squares = torch.einsum("bdi,bdij,bdj->d", coefficients, chunk.measuring, coefficients)
    num_failures = 0 if found.solved is None else int((~found.solved.is_converged).sum())
    return coefficients, squares, num_failures
