"""Every example's gradient, sketched: what the gramian over a whole pool is made of.

For a use with factors ``Σ_t left_t ⊗ right_t`` a row's sketch is ``Σ_t (S left_t) ⊗ (R right_t)`` with fixed random matrices S
and R of i.i.d. normal entries, scaled so that ``E SᵀS = I``: inner products of sketches are unbiased for those of gradients.
A side that is no wider than the sketch is left as it is, so that with ``width=None`` everything is exact.
"""

import hashlib
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from drpt.capture.rowwise import RowwiseUse
from drpt.capture.sites import captured_forwards, find_sites, trained_parameters
from drpt.capture.use import TokenFactors, Use, accumulating


class GradientPool:
    """Collects sketched per-example gradients, batch after batch.

    Args:
        model: The parameters that require gradients are looked at; ``.grad`` is left alone.
        num_examples: Of the whole pool.
        width: Rows of each random matrix; None takes gradients as they are.
        seeds: Of the random matrices, one a sketch: gramians of two sketches have independent errors.

    Raises:
        UnsupportedModuleError: A trained parameter belongs to a module without a rule.
    """

    def __init__(self, model: nn.Module, *, num_examples: int, width: int | None, seeds: Sequence[int]) -> None:
        self._num_examples = num_examples
        self.parameters = trained_parameters(model)
        self._sites = find_sites(model)
        self._width = width
        self._seeds = tuple(seeds)
        self._matrices: dict[tuple[str, int], tuple[Tensor | None, Tensor | None]] = {}
        self._kept: list[dict[str, Tensor]] = [{} for _ in self._seeds]

    def add(self, sample_losses: Callable[[], Float[Tensor, " batch"]], places: Int[Tensor, " batch"]) -> None:
        """One forward and one backward pass; the rows' gradients are kept.

        Args:
            sample_losses: Runs the model on a batch and returns one loss a row.
            places: Of the rows in the pool.
        """
        with captured_forwards(self._sites, self.parameters, _PoolStep(self, places)):
            sample_losses().sum().backward()

    def keep(self, name: str, use: Use, places: Int[Tensor, " batch"]) -> None:
        """Sketch what one use of a parameter adds to the rows' gradients; nothing else of it stays.

        Args:
            name: Of the parameter.
            use: Reached by the backward pass.
            places: Of the rows in the pool.
        """
        for kept, seed in zip(self._kept, self._seeds, strict=True):
            sketch = self._sketch(name, seed, use, self.parameters[name])
            if name not in kept:
                kept[name] = sketch.new_zeros(self._num_examples, sketch.shape[1])
            kept[name][places] += sketch

    def gradients(self, sketch: int) -> dict[str, Float[Tensor, "example sketch"]]:
        """Sketches of all examples by parameter, in float32 or better; a parameter that no loss depends on is left out."""
        return {name: self._kept[sketch][name] for name in self.parameters if name in self._kept[sketch]}

    def _sketch(self, name: str, seed: int, use: Use, parameter: nn.Parameter) -> Tensor:
        if isinstance(use, RowwiseUse):
            return accumulating(use.row_grads).flatten(1).cpu()
        factors = use.factors
        assert factors is not None
        if (name, seed) not in self._matrices:
            # One pair of matrices a parameter: the uses of a tied one must be mapped alike.
            self._matrices[name, seed] = (self._matrix(name, seed, 0, parameter), self._matrix(name, seed, 1, parameter))
        left_matrix, right_matrix = self._matrices[name, seed]
        left = _map_left(factors, left_matrix, parameter.shape[0])
        right = accumulating(factors.right)
        if right_matrix is not None:
            right = right @ right_matrix.to(right)
        return (left.to(right.dtype).mT @ right).flatten(1).cpu()

    def _matrix(self, name: str, seed: int, side: int, parameter: nn.Parameter) -> Tensor | None:
        size = parameter.shape[side]
        if self._width is None or size <= self._width:
            return None
        digest = hashlib.sha256(f"{seed}-{name}-{side}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        return torch.randn(size, self._width, generator=generator) / self._width**0.5


class _PoolStep:
    """Hands on what the backward pass of one batch leaves, at once: activations need not wait for the end."""

    def __init__(self, pool: GradientPool, places: Int[Tensor, " batch"]) -> None:
        self.num_rows = len(places)
        self.anchor = torch.zeros((), requires_grad=True)
        self._pool = pool
        self._places = places

    def announce(self, names: Sequence[str]) -> None:
        """Nothing to wait for."""

    @torch.no_grad()
    def record(self, uses: Sequence[tuple[str, Use]]) -> None:
        for name, use in uses:
            self._pool.keep(name, use, self._places)


def _map_left(factors: TokenFactors, matrix: Tensor | None, size: int) -> Tensor:
    left = factors.left
    if left.ndim == 3:
        left = accumulating(left)
        return left if matrix is None else left @ matrix.to(left)
    if matrix is None:
        return torch.nn.functional.one_hot(left, size)
    return matrix.to(left.device)[left]  # rows of the matrix stand for unit vectors
