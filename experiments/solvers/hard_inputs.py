"""Eighteen kinds of gradients that are hard for solvers, and Gaussian ones for comparison.

Each kind draws gradients of n examples and of a target in several blocks. `products_of` computes the inner products in
float64, or from float32 gradients with float32 sums, as the capture does.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from drpt.geometry.products import GeneralRows, Products

DIM = 100  # directions, unless a kind says otherwise: more than the examples there are


@dataclass(frozen=True, slots=True, kw_only=True)
class HardInput:
    """Gradients of a step, in float64."""

    general: Tensor  # [block, general, dim]
    target: Tensor  # [block, dim]
    weights: Tensor  # ω [general]

    def rounded(self, dtype: torch.dtype) -> "HardInput":
        """The gradients rounded to another precision and converted back."""
        return HardInput(general=self.general.to(dtype).double(), target=self.target.to(dtype).double(), weights=self.weights)

    @property
    def rows(self) -> GeneralRows:
        """The general examples."""
        return GeneralRows(base_weights=self.weights, example_ids=torch.arange(len(self.weights)), step_index=0)


def products_of(given: HardInput, dtype: torch.dtype) -> Products:
    """Inner products of gradients in ``dtype``, summed in ``dtype``."""
    general, target = given.general.to(dtype), given.target.to(dtype)
    return Products(
        gramian=general @ general.mT,
        alignment=torch.einsum("bnd,bd->bn", general, target),
        target_sq=target.square().sum(dim=1),
    )


Kind = Callable[[torch.Generator, int, int], HardInput]


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _given(general: Tensor, target: Tensor, weights: Tensor | None = None) -> HardInput:
    n = general.shape[1]
    omega = torch.full((n,), 1.0 / n, dtype=torch.float64) if weights is None else weights / weights.sum()
    return HardInput(general=general, target=target, weights=omega)


def gaussian(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """Independent directions, the easy case."""
    return _given(_normal(generator, blocks, n, DIM), _normal(generator, blocks, DIM))


def rank_deficient(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """Gradients that span a third as many dimensions as there are examples."""
    dim = max(1, n // 3)
    return _given(_normal(generator, blocks, n, dim), _normal(generator, blocks, dim))


def rank_one(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """Multiples of one gradient, of both signs."""
    line = _normal(generator, blocks, 1, DIM)
    return _given(_normal(generator, blocks, n, 1) * line, _normal(generator, blocks, DIM))


def repeated(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """Every gradient four times."""
    different = _normal(generator, blocks, (n + 3) // 4, DIM)
    return _given(different.repeat(1, 4, 1)[:, :n], _normal(generator, blocks, DIM))


def _around(generator: torch.Generator, blocks: int, n: int, spread: float) -> HardInput:
    base = _normal(generator, blocks, 1, DIM)
    target = base[:, 0] + _normal(generator, blocks, DIM)
    return _given(base + spread * _normal(generator, blocks, n, DIM), target)


def nearly_parallel(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """A common gradient plus individual parts of relative size 1e-4."""
    return _around(generator, blocks, n, 1e-4)


def hardly_different(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """A common gradient plus individual parts of relative size 1e-9, below float32's precision."""
    return _around(generator, blocks, n, 1e-9)


def opposite(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """Each gradient and its negative: the hull contains the origin."""
    half = _normal(generator, blocks, (n + 1) // 2, DIM)
    return _given(torch.cat([half, -half], dim=1)[:, :n], _normal(generator, blocks, DIM))


def nearly_opposite(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """Each gradient and almost its negative: the hull all but contains the origin."""
    given = opposite(generator, blocks, n)
    return _given(given.general + 1e-4 * _normal(generator, blocks, n, DIM), given.target)


def zero_rows(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """Every third gradient vanishes."""
    general = _normal(generator, blocks, n, DIM)
    general[:, ::3] = 0
    return _given(general, _normal(generator, blocks, DIM))


def nothing(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """Blocks in which all general gradients vanish, or the target's, or both, in turn."""
    given = gaussian(generator, blocks, n)
    given.general[::3] = 0
    given.target[1::3] = 0
    given.general[2::3] = 0
    given.target[2::3] = 0
    return given


def lengths_across(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """Blocks whose gradients, general and target, have lengths from 1e-12 to 1e12."""
    exponent = 24 * torch.rand(blocks, 1, 1, generator=generator, dtype=torch.float64) - 12
    given = gaussian(generator, blocks, n)
    return _given(given.general * 10**exponent, given.target * 10 ** exponent[:, 0])


def lengths_within(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """Examples of lengths from 1e-6 to 1e6 in one block."""
    exponent = 12 * torch.rand(blocks, n, 1, generator=generator, dtype=torch.float64) - 6
    given = gaussian(generator, blocks, n)
    return _given(given.general * 10**exponent, given.target)


def lengths_and_parallel(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """Nearly parallel, and of lengths from 1e-6 to 1e6."""
    exponent = 12 * torch.rand(blocks, n, 1, generator=generator, dtype=torch.float64) - 6
    given = nearly_parallel(generator, blocks, n)
    return _given(given.general * 10**exponent, given.target)


def uneven_weights(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """Weights from 1e-6 to 1, before normalisation."""
    given = gaussian(generator, blocks, n)
    return _given(given.general, given.target, 10 ** (-6 * torch.rand(n, generator=generator, dtype=torch.float64)))


def no_weight(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """Every other example has weight 0."""
    given = gaussian(generator, blocks, n)
    weights = torch.ones(n, dtype=torch.float64)
    weights[1::2] = 0
    return _given(given.general, given.target, weights)


def ties(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """Examples along the axes, all equally aligned with the target."""
    general = torch.eye(DIM, dtype=torch.float64)[:n].expand(blocks, n, DIM).clone()
    sign = torch.where(torch.rand(blocks, 1, generator=generator, dtype=torch.float64) < 0.5, -1.0, 1.0)
    return _given(general, sign * torch.ones(blocks, DIM, dtype=torch.float64))


def hilbert(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """Rows of the Hilbert matrix, each almost a combination of the others."""
    place = torch.arange(DIM, dtype=torch.float64)
    rows = 1.0 / (torch.arange(n, dtype=torch.float64)[:, None] + place + 1)
    return _given(rows.expand(blocks, n, DIM).clone(), _normal(generator, blocks, DIM))


def at_a_corner(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """A target that is one of the examples or on a face between them, so that multipliers vanish."""
    general = _normal(generator, blocks, n, DIM)
    share = torch.rand(blocks, n, generator=generator, dtype=torch.float64)
    share[:, n // 2 :] = 0
    share[::2, 1:] = 0
    share[:, 0] += 0.1
    return _given(general, torch.einsum("bn,bnd->bd", share / share.sum(dim=1, keepdim=True), general))


def crowd(generator: torch.Generator, blocks: int, n: int) -> HardInput:
    """All examples and the target in one plane."""
    return _given(_normal(generator, blocks, n, 2), _normal(generator, blocks, 2))


KINDS: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (
        rank_deficient,
        rank_one,
        repeated,
        nearly_parallel,
        hardly_different,
        opposite,
        nearly_opposite,
        zero_rows,
        nothing,
        lengths_across,
        lengths_within,
        lengths_and_parallel,
        uneven_weights,
        no_weight,
        ties,
        hilbert,
        at_a_corner,
        crowd,
    )
}


def hard_input(kind: str, *, n: int, blocks: int = 30, seed: int = 0) -> HardInput:
    """Draw gradients of one kind, which may be Gaussian."""
    generator = torch.Generator().manual_seed(seed)
    return (gaussian if kind == "gaussian" else KINDS[kind])(generator, blocks, n)
