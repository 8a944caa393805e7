"""Draws steps from a pool of examples and computes update rules on them, using the pool's gramians only; for `drpt probe`.

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
    """Gramians of each block over the whole pool, and the examples of each half."""

    gramian: Float[Tensor, "block pool pool"]  # gramian for measuring, in float64
    choosing: Float[Tensor, "block pool pool"]  # gramian that rules see: the same, or that of an independent sketch
    num_tokens: Int[Tensor, " pool"]  # loss tokens of each example, for token weights
    general: tuple[Int[Tensor, " general"], Int[Tensor, " general"]]
    target: tuple[Int[Tensor, " target"], Int[Tensor, " target"]]
    population: tuple[Int[Tensor, " population"], Int[Tensor, " population"]]

    def population_weights(self, half: int) -> Float[Tensor, " pool"]:
        """v* of a half, the mean gradient of its population, as weights of the pool's examples."""
        weights = self.gramian.new_zeros(self.gramian.shape[1])
        weights[self.population[half]] = 1.0 / len(self.population[half])
        return weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """The pool's examples in each draw; all rules use the same draws."""

    general: Int[Tensor, "draw n"]
    target: Int[Tensor, "draw m"]

    @property
    def rows(self) -> Int[Tensor, "draw row"]:
        """All examples of a draw, general ones first."""
        return torch.cat([self.general, self.target], dim=1)


@dataclass(frozen=True, slots=True)
class Updates:
    """One rule's updates over the draws of one half: ``u = Σ coefficients · gradients of the draw's rows``."""

    coefficients: Float[Tensor, "block draw row"]  # coefficients of the rows; a/m for each target row
    squares: Float[Tensor, " draw"]  # ‖u‖² over all blocks
    num_failures: int  # number of solves that did not converge


def draw(pool: Pool, *, num_draws: int, general_rows: int, target_rows: int, seed: int) -> tuple[Draws, Draws]:
    """Draw the examples of steps from each half, without repetition inside a step.

    Each draw is then a step of independent examples, as in training; different draws may share examples.

    Args:
        pool: Pool to draw from.
        num_draws: Number of draws from each half.
        general_rows: Number n of general examples in a step.
        target_rows: Number m of target examples in a step.
        seed: Seed, which gives the same draws on every machine.

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
    """The draws of one half with the inputs of rules, which all rules share.

    Args:
        pool: Gramians of the pool; rules choose by ``choosing``, and squares are measured with ``gramian``.
        draws: Draws from one half.
    """

    def __init__(self, pool: Pool, draws: Draws) -> None:
        self._chunks = list(_chunks(pool, draws))

    def updates(self, rule: Regularizer) -> Updates:
        """The updates of one rule, whose partition must be that of the pool's blocks."""
        parts = [_apply(rule, chunk) for chunk in self._chunks]
        return Updates(
            coefficients=torch.cat([part[0] for part in parts], dim=1),
            squares=torch.cat([part[1] for part in parts]),
            num_failures=sum(part[2] for part in parts),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """Some draws with the inputs of rules; a rule's blocks are all pairs of block and draw, draws running fastest."""

    products: Products
    measuring: Float[Tensor, "block draw row row"]
    weights: dict[BaseWeights, Float[Tensor, "problem n"]]
    places: list[int]  # id of each pair of draw and block, so that random scores differ between them


def _chunks(pool: Pool, draws: Draws) -> Iterator[_Chunk]:
    num_blocks = pool.gramian.shape[0]
    num_draws, num_rows = draws.rows.shape
    n = draws.general.shape[1]
    # Automatic strengths leave out each target example in turn, which takes m times the gramians.
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
