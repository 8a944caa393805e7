"""Assigns examples to packed rows by their lengths, to minimise padding; `drpt.data.batch` builds the tensors."""

from bisect import bisect_left
from collections.abc import Sequence


def share_rows(lengths: Sequence[int], *, max_length: int) -> list[list[int]]:
    """Assign whole examples to rows of at most ``max_length`` tokens so that the padded area is small.

    For every number of rows, find the narrowest width at which best-fit-decreasing places all examples. The smallest area
    (rows times width) is chosen; it never exceeds that of one example per row.

    Source: Coffman, Garey & Johnson (1978), MULTIFIT. Departures: best fit instead of first fit; the number of rows is also
    chosen.

    Args:
        lengths: Number of tokens in each example, at least one example.
        max_length: Largest number of tokens in a row.

    Returns:
        Indices of the examples in each row, ascending; rows are ordered by their first example.

    Raises:
        ValueError: An example is longer than ``max_length``.
    """
    longest, total = max(lengths), sum(lengths)
    if longest > max_length:
        raise ValueError(f"an example of {longest} tokens does not fit into rows of data.max_length={max_length}.")
    best = [[example] for example in range(len(lengths))]
    area = len(lengths) * longest
    num_rows = max(1, -(-total // max_length))
    # The number of rows times the longest example is a lower bound on the area. Of equal areas, more and narrower rows are
    # better, since attention costs the square of the width.
    while num_rows <= len(lengths) and num_rows * longest <= area:
        rows = _best_fit(lengths, _narrowest(lengths, num_rows, max_length))
        if len(rows) * fullest_row(rows, lengths) <= area:
            best, area = rows, len(rows) * fullest_row(rows, lengths)
        num_rows += 1
    return sorted(sorted(row) for row in best)


def fullest_row(layout: Sequence[Sequence[int]], lengths: Sequence[int]) -> int:
    """Number of tokens in the fullest row."""
    return max(sum(lengths[example] for example in row) for row in layout)


def _narrowest(lengths: Sequence[int], num_rows: int, max_length: int) -> int:
    # Bisection assumes that wider rows never need more rows; where this fails, the result is slightly too wide.
    least = max(*lengths, -(-sum(lengths) // num_rows))
    return least + bisect_left(range(least, max_length), True, key=lambda width: len(_best_fit(lengths, width)) <= num_rows)


def _best_fit(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Best-fit-decreasing: place the longest examples first, each in the fullest row with room for it."""
    rows: list[list[int]] = []
    room: list[int] = []
    for example in sorted(range(len(lengths)), key=lambda example: -lengths[example]):
        fitting = [row for row in range(len(rows)) if room[row] >= lengths[example]]
        if not fitting:
            rows.append([])
            room.append(width)
            fitting = [len(rows) - 1]
        row = min(fitting, key=room.__getitem__)
        rows[row].append(example)
        room[row] -= lengths[example]
    return rows
