"""Operations without a rule of their own: they run on one copy at a time, vectorised.

Axes: copy = row of the batch, or token where a row holds several examples.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.layers.shared_values.alignment import diagonal, joined, repeated, split
from drpt.capture.layers.shared_values.call import Call
from drpt.capture.layers.shared_values.shared_tensor import SharedTensor, copies_of, plain
from drpt.capture.layers.site import RowAxis, rows_in

MOST_COPY_BYTES = 256 * 2**20  # of one value's copies
_REPEATING = frozenset(("expand", "expand_as", "repeat", "broadcast_to", "tile"))


class GeneralCall(Call):
    """Any operation that treats the rows one by one."""

    def _general(self) -> Any:
        assert self._site is not None
        layout = self._site.layout
        lead = [tensor for tensor in self._tensors if rows_in(tensor, layout) is not RowAxis.NONE]
        if lead:
            return self._row_by_row(rows_in(lead[0], layout))
        self._refuse_rowless()
        with torch.no_grad():
            seen = self._with(plain)
        results, structure = tree_flatten(seen)
        if not any(_is_differentiable(value) for value in results):
            return seen
        self._refuse_too_large(results)
        if self._name in _REPEATING and seen.shape[0] == layout.num_rows and not self._is_by_token():
            source = self._shared[0]
            if source.ndim < seen.ndim or source.shape[0] == 1:  # a row for everybody, made by the model
                return self._one_for_each_row(source, seen)
        made: list[list[Tensor]] = []

        def make(place: int) -> Tensor:
            if not made:
                made.append(tree_flatten(self._vmapped())[0])
            return made[0][place]

        wrapped = [
            self._share(value, lambda place=place: make(place))  # type: ignore[misc]  # a default binds the place
            if _is_differentiable(value)
            else value
            for place, value in enumerate(results)
        ]
        return tree_unflatten(wrapped, structure)

    def _vmapped(self) -> Any:
        """The operation for each copy of the shared values; the others are the same for all."""

        def one(copies: list[Tensor]) -> Any:
            given = iter(copies)
            return self._with(lambda value: next(given) if isinstance(value, SharedTensor) else value)

        return self._run(one, [copies_of(value) for value in self._shared])

    def _one_for_each_row(self, source: SharedTensor, seen: Tensor) -> Tensor:
        """``table.repeat(rows, …)`` and the like: row i of the result is made of copy i alone."""
        copies = copies_of(source)
        if source.ndim == seen.ndim:
            copies = copies.squeeze(1)
        if self._name in {"repeat", "tile"}:
            sizes = self._args[1:] if isinstance(self._args[1], int) else tuple(self._args[1])
            return repeated(copies, sizes)
        return copies.reshape(len(copies), *(1,) * (seen.ndim - copies.ndim), *copies.shape[1:]).expand(seen.shape)

    def _row_by_row(self, rows: RowAxis) -> Any:
        """The operation on each row, as a batch of one, with its own copies of the shared values."""
        assert self._site is not None
        layout = self._site.layout
        num_rows = layout.num_rows
        is_by_token = self._is_by_token()
        with_rows = [tensor for tensor in self._tensors if self._has_rows(tensor)]
        if is_by_token and any(tensor.ndim < 2 or tensor.shape[1] != layout.num_tokens for tensor in with_rows):
            raise self._refusal()
        parts: list[Tensor] = []
        for value in self._flat:
            if isinstance(value, SharedTensor):
                is_repeated = value.ndim > 0 and value.shape[0] == num_rows and rows is RowAxis.FIRST and not is_by_token
                parts.append(diagonal(copies_of(value))[:, None] if is_repeated else copies_of(value))
            elif self._has_rows(value):
                parts.append(split(value, num_rows, rows, is_by_token=is_by_token))

        def one(given: list[Tensor]) -> Any:
            of_one = iter(given)
            return self._with(lambda value: next(of_one) if isinstance(value, SharedTensor) or self._has_rows(value) else value)

        results, structure = tree_flatten(self._run(one, parts))
        rejoined = [joined(value, num_rows, rows, is_by_token=is_by_token) for value in results]
        if any(value is None for value in rejoined):
            raise self._refusal()
        return tree_unflatten(rejoined, structure)

    def _run(self, one: Callable[[list[Tensor]], Any], parts: list[Tensor]) -> Any:
        try:
            return torch.func.vmap(one, randomness="same")(parts)
        except UnsupportedModuleError:
            raise
        except (RuntimeError, ValueError, NotImplementedError) as error:
            raise self._refusal() from error

    def _refuse_too_large(self, results: Sequence[Any]) -> None:
        assert self._site is not None
        num_bytes = sum(value.nbytes for value in results if isinstance(value, Tensor)) * self._site.layout.num_rows
        if num_bytes > MOST_COPY_BYTES:
            raise self._refusal(f": one copy a row of what it returns would take {num_bytes / 2**20:.0f} MiB")


def _is_differentiable(value: Any) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
