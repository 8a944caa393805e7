"""The order of examples as a pure function of seed and step, so that a resumed run sees the same examples."""

import random
from functools import lru_cache


def rows_of_step(*, pool_size: int, count: int, step: int, seed: int, stream: str) -> list[int]:
    """Select the examples of a step from shuffled epochs; an incomplete step at the end of an epoch is skipped.

    Args:
        pool_size: Number of examples in the pool.
        count: Number of examples per step, at most ``pool_size``.
        step: Index of the step, from 0.
        seed: Seed of the run.
        stream: Name of the pool, so that pools of equal size are shuffled differently.

    Returns:
        ``count`` distinct indices into the pool.
    """
    steps_per_epoch = pool_size // count
    epoch, place = divmod(step, steps_per_epoch)
    return list(_shuffle(pool_size, seed, epoch, stream)[place * count : (place + 1) * count])


@lru_cache(maxsize=8)
def _shuffle(pool_size: int, seed: int, epoch: int, stream: str) -> tuple[int, ...]:
    order = list(range(pool_size))
    random.Random(f"{stream}-{seed}-{epoch}").shuffle(order)
    return tuple(order)
