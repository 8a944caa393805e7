"""Sharing out prompts that have several responses, so that a small pool gets what it asked for; no torch."""

from collections.abc import Sequence


def shared_out(sizes: Sequence[int], *, wanted: int, most: int) -> list[int]:
    """Choose groups of rows for a pool; no group is split.

    The sum of their sizes is the least that reaches ``wanted``, so that few rows are left over; where no such sum is within
    ``most``, it is the largest that is. Among the ways to reach it, groups that come early are preferred.

    Args:
        sizes: Rows of each group.
        wanted: Rows that the pool asked for.
        most: Rows that may be taken away from the other pools.

    Returns:
        Places of the chosen groups, ascending; none where even the smallest is too large.
    """
    limit = min(most, wanted - 1 + max(sizes, default=0))
    if limit < 1:
        return []
    mask = (1 << (limit + 1)) - 1
    reached = 1  # bit s: a sum of s can be reached by the groups so far
    last = [-1] * (limit + 1)  # by sum: the group that reached it first; the rest of the sum is of groups before it
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
