"""What all rows share (a parameter, learned positions), with a copy for each row behind it.

A model adds one table of positions to all rows, and autograd sums the gradient over the rows before anybody can look. A
`SharedTensor` has the shape and the values that the model expects, and carries one copy a row along: operations among shared
values run on the copies, too, and where a shared value meets the rows, each row meets its own copy. The result is the same,
and the copies' gradients are the rows' own.

    shared op shared            → shared; copies[i] = op(copies[i], …)
    shared op rows [row, …]     → rows; result[i] = op(copies[i], rows[i])
    shared op rows [row·token]  → the same, row by row

This is exact for every operation that treats the rows one by one, which the capture's check proves of a model. A shared value
that gets lost (in C++ code that takes it for an ordinary tensor) raises an error in the backward pass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from drpt.capture.layers.site import Site

ORDINARILY = torch._C.DisableTorchFunctionSubclass  # within it, shared values count as ordinary tensors


@runtime_checkable  # for the shape checker of the tests
class Product(Protocol):
    """``x Wᵀ``, or ``x W`` where the inputs are W's first axis, with (x, o) recorded; ``dtype`` is what W was cast to."""

    def __call__(self, x: Tensor, *, is_input_first: bool, dtype: torch.dtype) -> Any:  # Any: shared, or with rows
        """The product."""


@runtime_checkable  # for the shape checker of the tests
class LookUp(Protocol):
    """``W[ids]``, with (ids, o) recorded."""

    def __call__(self, token_ids: Tensor, *, padding_idx: int | None, dtype: torch.dtype) -> Any:  # Any: likewise
        """The rows of the table."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A weight matrix to which nothing has been done but transposing and casting: its products need no copies of it."""

    product: Product
    look_up: LookUp
    is_transposed: bool = False


class SharedTensor(torch.Tensor):
    """A value that all rows share; see the module. Made by `drpt.capture.layers.shared_values.followed_call.share`."""

    _site: Site
    _copies: Tensor | None  # [copy, *shape]
    _make: Callable[[], Tensor]
    _matrix: Matrix | None


def copies_of(shared: SharedTensor) -> Tensor:
    """The copies [copy, *shape]: one a row, or one a token for parameters in packed batches.

    Args:
        shared: The value.

    Returns:
        Part of the graph.
    """
    if shared._copies is None:
        shared._copies = shared._make()
    return shared._copies


def rows_of(shared: SharedTensor) -> Tensor:
    """The copies as an ordinary batch: [row, *shape], without a leading axis of size 1.

    Args:
        shared: A value with one copy a row.

    Returns:
        Part of the graph.
    """
    copies = copies_of(shared)
    return copies.squeeze(1) if copies.ndim > 2 and copies.shape[1] == 1 else copies


def plain(value: Any) -> Any:
    """The value that the model sees, as an ordinary tensor; anything else as it is."""
    if isinstance(value, SharedTensor):
        with ORDINARILY():
            return value.detach().as_subclass(torch.Tensor)
    return value
