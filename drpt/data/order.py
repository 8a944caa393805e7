"""Which examples a step takes: a pure function of seed and step, so that a resumed run sees what it would have seen."""

import random
from functools import lru_cache


def rows_of_step(*, pool_size: int, count: int, step: int, seed: int, stream: str) -> list[int]:
    """Indices into a pool: epochs of a seeded shuffle, cut into steps of ``count``; the rest of an epoch is left out.

    Args:
        pool_size: Examples in the pool.
        count: Examples a step, at most ``pool_size``.
        step: Number of the step, from 0.
        seed: The run's.
        stream: Name of the pool, so that two pools of one size are not shuffled alike.

    Returns:
        ``count`` distinct indices.
    """
    steps_per_epoch = pool_size // count
    epoch, place = divmod(step, steps_per_epoch)
    return list(_shuffle(pool_size, seed, epoch, stream)[place * count : (place + 1) * count])


@lru_cache(maxsize=8)
def _shuffle(pool_size: int, seed: int, epoch: int, stream: str) -> tuple[int, ...]:
    order = list(range(pool_size))
    random.Random(f"{stream}-{seed}-{epoch}").shuffle(order)
    return tuple(order)
