"""Bringing the copies of a shared value and the rows of a batch together, axis by axis.

Axes: copy = row, or token where a row holds several examples; lead = the tensor that shows where the rows are.
"""

from collections.abc import Sequence
from typing import NoReturn

from torch import Tensor

from drpt.capture.errors import ONE_A_ROW, UnsupportedModuleError
from drpt.capture.layers.shared_values.shared_tensor import SharedTensor, copies_of
from drpt.capture.layers.site import RowAxis, axis_of_tokens, rows_in


def aligned(shared: SharedTensor, ndim: int, lead: Tensor) -> Tensor:
    """The copies, shaped so that broadcasting brings each to its own row.

    Args:
        shared: The value.
        ndim: Axes of the result.
        lead: An argument with the rows, of as many axes.

    Returns:
        Ready to be broadcast against ``lead``.
    """
    layout, copies = shared._site.layout, copies_of(shared)
    rows, own = rows_in(lead, layout), shared.shape
    if len(copies) != layout.num_rows:
        return _aligned_to_tokens(shared, ndim, lead)
    if shared.ndim == ndim and own[0] == 1:
        copies, own = copies.squeeze(1), own[1:]
    elif shared.ndim == ndim and rows is RowAxis.FIRST and own[0] == layout.num_rows:
        copies, own = diagonal(copies), own[1:]
    elif shared.ndim >= ndim:
        _refuse(shared, lead)
    copies = copies.reshape(len(copies), *(1,) * (ndim - 1 - len(own)), *own)
    if rows is RowAxis.FIRST:
        return copies
    length = len(lead) // layout.num_rows
    return copies.unsqueeze(1).expand(-1, length, *copies.shape[1:]).flatten(0, 1)


def _aligned_to_tokens(shared: SharedTensor, ndim: int, lead: Tensor) -> Tensor:
    copies, room = copies_of(shared), ndim - shared.ndim
    if rows_in(lead, shared._site.layout) is RowAxis.FLAT:
        if room < 1:
            _refuse(shared, lead)
        return copies.reshape(len(copies), *(1,) * (room - 1), *shared.shape)
    axis = axis_of_tokens(lead, shared._site)
    if axis >= room:
        _refuse(shared, lead)
    sizes = [1] * room
    sizes[0], sizes[axis] = lead.shape[0], lead.shape[axis]
    return copies.reshape(*sizes, *shared.shape)


def diagonal(copies: Tensor) -> Tensor:
    """Of copies [row, row, …] of a value with one part a row: each row's part of its own copy, [row, …]."""
    return copies.diagonal(dim1=0, dim2=1).movedim(-1, 0)


def repeated(copies: Tensor, sizes: Sequence[int]) -> Tensor:
    """``value.repeat(rows, …)``, one row of it from each copy.

    Args:
        copies: [row, …], without the value's leading axis of size 1.
        sizes: As given to ``repeat``.

    Returns:
        [row, …].
    """
    missing = len(sizes) - copies.ndim
    return copies.reshape(len(copies), *(1,) * missing, *copies.shape[1:]).repeat(1, *sizes[1:])


def split(tensor: Tensor, num_rows: int, rows: RowAxis, *, is_by_token: bool) -> Tensor:
    """A batch along whose first axis lie batches of one: of a row, or of a token.

    Args:
        tensor: [row, …] or [row · token, …].
        num_rows: Rows of the batch.
        rows: Which of the two.
        is_by_token: Whether to take the tokens apart.

    Returns:
        [copy, …], each entry with the axes of ``tensor``.
    """
    if is_by_token:
        return tensor.flatten(0, 1)[:, None, None] if rows is RowAxis.FIRST else tensor[:, None]
    return tensor[:, None] if rows is RowAxis.FIRST else tensor.unflatten(0, (num_rows, -1))


def joined(parts: Tensor, num_rows: int, rows: RowAxis, *, is_by_token: bool) -> Tensor | None:
    """The inverse of `split`; None where the entries are no batches of one."""
    if is_by_token and rows is RowAxis.FIRST:
        fits = parts.ndim > 2 and parts.shape[1] == 1 and parts.shape[2] == 1
        return parts.reshape(num_rows, -1, *parts.shape[3:]) if fits else None
    fits = parts.ndim > 1 and (parts.shape[1] == 1 or (rows is RowAxis.FLAT and not is_by_token))
    return parts.flatten(0, 1) if fits else None


def _refuse(shared: SharedTensor, lead: Tensor) -> NoReturn:
    raise UnsupportedModuleError(
        f"{shared._site.name}: a value of shape {tuple(shared.shape)} that all rows share meets activations of shape "
        f"{tuple(lead.shape)}, and has entries of its own along the axis of rows (or, in a packed batch, of tokens). "
        f"{ONE_A_ROW}, or freeze its parameters."
    )
