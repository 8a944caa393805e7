"""Which examples share a row so that little padding is left: a matter of their lengths alone, without tensors."""

from bisect import bisect_left
from collections.abc import Sequence


def share_rows(lengths: Sequence[int], *, max_length: int) -> list[list[int]]:
    """Lay whole examples into rows of at most ``max_length`` tokens, all as wide as the fullest, so that the area is small.

    For every number of rows the narrowest ones are looked for in which best-fit-decreasing places all examples; the
    smallest area (rows times width) wins. It is never larger than that of one example a row.

    Source: Coffman, Garey & Johnson (1978), MULTIFIT. Departures: best fit in place of first fit; the number of rows is
    chosen too.

    Args:
        lengths: Tokens of each example, at least one example.
        max_length: Most tokens of a row.

    Returns:
        Places of the examples in each row, ascending, the rows by their first; the same for the same lengths.

    Raises:
        ValueError: An example is longer than ``max_length``.
    """
    longest, total = max(lengths), sum(lengths)
    if longest > max_length:
        raise ValueError(f"an example of {longest} tokens does not fit into rows of data.max_length={max_length}.")
    best = [[example] for example in range(len(lengths))]
    area = len(lengths) * longest
    num_rows = max(1, -(-total // max_length))
    # So many rows as wide as the longest example are a bound from below. Of equal areas the one with more and narrower
    # rows is taken: attention costs the square of a row's width.
    while num_rows <= len(lengths) and num_rows * longest <= area:
        rows = _best_fit(lengths, _narrowest(lengths, num_rows, max_length))
        if len(rows) * fullest_row(rows, lengths) <= area:
            best, area = rows, len(rows) * fullest_row(rows, lengths)
        num_rows += 1
    return sorted(sorted(row) for row in best)


def fullest_row(layout: Sequence[Sequence[int]], lengths: Sequence[int]) -> int:
    """Tokens of the fullest row of a layout."""
    return max(sum(lengths[example] for example in row) for row in layout)


def _narrowest(lengths: Sequence[int], num_rows: int, max_length: int) -> int:
    # By bisection, as if one more token a row never needed a row more; where that fails the layout is a little wider.
    least = max(*lengths, -(-sum(lengths) // num_rows))
    return least + bisect_left(range(least, max_length), True, key=lambda width: len(_best_fit(lengths, width)) <= num_rows)


def _best_fit(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Best-fit-decreasing: the longest first, each into the fullest row with room for it, ties by order."""
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
