"""Random matrices that make vectors short and keep their inner products on average: ``E[S Sᵀ] = I``.

Every kind is unbiased; they differ in variance and cost. A dense product with a matrix of a few dozen columns is so cheap
on present hardware that even the sparse kind takes it: no sparse product that torch offers is quicker there.
"""

import hashlib

import torch
from jaxtyping import Float, Int
from torch import Tensor

from drpt.capture.gradients import accumulated_product, accumulating
from drpt.capture.products.sketch_spec import SketchKind

_SIGNS_A_COORDINATE = 4  # of the sparse kind


class Sketcher:
    """Makes and remembers the matrices ``S [size, width]``, the same ones for the same seed.

    A side that is no wider than its sketch is left as it is, so that small parameters are exact.

    Args:
        kind: How entries are drawn.
        left_width: Columns of the matrices for a parameter's first axis (outputs; the vocabulary of a table); None leaves
            that side as it is.
        right_width: Likewise for its second axis (inputs).
        seed: Of all matrices.
    """

    def __init__(self, kind: SketchKind, *, left_width: int | None, right_width: int | None, seed: int) -> None:
        self.kind = kind
        self._widths = (left_width, right_width)
        self._seed = seed
        self.era = 0
        self._matrices: dict[tuple[str, int, int, torch.dtype, torch.device], Tensor] = {}

    def width(self, axis: int, size: int) -> int:
        """What is left of ``size`` coordinates of axis 0 or 1."""
        width = self._widths[axis]
        return size if width is None else min(size, width)

    def refresh(self, era: int) -> None:
        """Go over to other matrices: those of ``era``, the same whenever it comes round."""
        if era != self.era:
            self.era = era
            self._matrices.clear()

    def key(self, axis: int, size: int, name: str) -> tuple[object, ...]:
        """Names the matrix that `sketch` applies, for whoever remembers its results."""
        return ("sketch", id(self), self.era, name, axis, size)

    def sketch(
        self,
        values: Float[Tensor, "token size"] | Int[Tensor, " token"],
        axis: int,
        size: int,
        name: str = "",
        dtype: torch.dtype = torch.float32,
    ) -> Float[Tensor, "token width"]:
        """``values S``; integers stand for unit vectors, and pick rows of S.

        Args:
            values: Vectors, or integers below ``size``.
            axis: Of the parameter: 0 or 1.
            size: Of that axis.
            name: Sets a matrix apart; parameters of the same name and size share theirs.
            dtype: Of the result for integers.

        Returns:
            In float32 or better; values that are not made shorter as they are.
        """
        if self.width(axis, size) == size:
            return values if values.ndim == 2 else torch.nn.functional.one_hot(values, size).to(dtype)
        if values.ndim == 1:
            return self._matrix(name, axis, size, dtype, values.device)[values]
        if self.kind is SketchKind.ROW_MASK:
            chosen = self._matrix(name, axis, size, torch.long, values.device)
            return accumulating(values.index_select(1, chosen)) * (size / len(chosen)) ** 0.5
        return accumulated_product(values, self._matrix(name, axis, size, values.dtype, values.device))

    def _matrix(self, name: str, axis: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """S; for the row mask and integers asked for, the coordinates that are kept."""
        key = (name, axis, size, dtype, device)
        if key not in self._matrices:
            drawn = self._chosen(name, axis, size) if dtype is torch.long else self._draw(name, axis, size)
            self._matrices[key] = drawn.to(device=device, dtype=dtype)
        return self._matrices[key]

    def _draw(self, name: str, axis: int, size: int) -> Tensor:
        # In float32 whatever torch's default is: Lightning makes it bfloat16 during a step of bf16-true.
        width, generator = self.width(axis, size), self._generator(name, axis, size)
        if self.kind is SketchKind.GAUSSIAN:
            return torch.randn(size, width, generator=generator, dtype=torch.float32) / width**0.5
        if self.kind is SketchKind.RADEMACHER:
            return _signs(size, width, generator) / width**0.5
        if self.kind is SketchKind.ROW_MASK:
            matrix = torch.zeros(size, width, dtype=torch.float64)
            matrix[self._chosen(name, axis, size), torch.arange(width)] = (size / width) ** 0.5
            return matrix
        count = min(_SIGNS_A_COORDINATE, width)
        places = torch.rand(size, width, generator=generator, dtype=torch.float32).topk(count, dim=1).indices
        return torch.zeros(size, width, dtype=torch.float32).scatter_(1, places, _signs(size, count, generator) / count**0.5)

    def _chosen(self, name: str, axis: int, size: int) -> Int[Tensor, " width"]:
        return torch.randperm(size, generator=self._generator(name, axis, size))[: self.width(axis, size)]

    def _generator(self, name: str, axis: int, size: int) -> torch.Generator:
        era = f"-{self.era}" if self.era else ""
        digest = hashlib.sha256(f"{self._seed}-{name or size}-{axis}{era}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def _signs(size: int, width: int, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, (size, width), generator=generator).float() * 2.0 - 1.0
