"""Assigns whole prompts with several responses to pools, so that small pools get their sizes; no torch."""

from collections.abc import Sequence


def shared_out(sizes: Sequence[int], *, wanted: int, most: int) -> list[int]:
    """Choose whole groups of rows for a pool (subset sum by dynamic programming).

    The total size is the smallest that reaches ``wanted``, so that few rows are wasted; if that exceeds ``most``, it is the
    largest total up to ``most``. Early groups are preferred.

    Args:
        sizes: Number of rows in each group.
        wanted: Number of rows wanted for the pool.
        most: Largest number of rows that the pool may take.

    Returns:
        Indices of the chosen groups, ascending; none if even the smallest group is too large.
    """
    limit = min(most, wanted - 1 + max(sizes, default=0))
    if limit < 1:
        return []
    mask = (1 << (limit + 1)) - 1
    reached = 1  # bit s is set if the groups so far can have the total size s
    last = [-1] * (limit + 1)  # group that first reached each total; the rest of the total comes from earlier groups
    for place, size in enumerate(sizes):
        new = (reached << size) & mask & ~reached
        reached |= new
        while new:
            lowest = new & -new
            last[lowest.bit_length() - 1] = place
            new ^= lowest
    sums = [total for total in range(1, limit + 1) if last[total] >= 0]
    if not sums:
        return []
    total = next((total for total in sums if total >= wanted), sums[-1])
    chosen = []
    while total:
        chosen.append(last[total])
        total -= sizes[last[total]]
    return chosen[::-1]
