"""What is said of the pools of a run before it trains: how large they are, what was chosen, and what was left out."""

import logging
from collections.abc import Iterator

from drpt.data.pools import Pools
from drpt.data.spec import DataSpec


def spoken(pools: Pools, spec: DataSpec) -> Iterator[tuple[int, str]]:
    """Lines for the log.

    Args:
        pools: As drawn.
        spec: The `data` config group.

    Yields:
        A level of `logging`, and a line.
    """
    sizes = pools.sizes
    stopping = f" and {sizes['stopping']} to choose when to stop" if sizes["stopping"] else ""
    yield (
        logging.INFO,
        f"data={spec.label}: {sizes['general']:,} general and {sizes['target']:,} target examples to train on{stopping}, "
        f"{sizes['evaluation']:,} to measure with",
    )
    for line in pools.chosen:
        yield logging.INFO, line
    same = sum(count for name, count in pools.counts.items() if name.endswith("_same_prompt"))
    if same:
        yield logging.INFO, f"{same} examples are further responses to a prompt of their pool, and were kept in it"
    near = sum(count for name, count in pools.counts.items() if name.endswith("_near_duplicate"))
    if near:
        yield (
            logging.INFO,
            f"{near} near-duplicates of another pool's examples were left out (data.near_duplicates={spec.near_duplicates}; "
            "null keeps them), such as:",
        )
        for found in pools.near_duplicates:
            yield logging.INFO, f"  {found}"
    for line in pools.warnings:
        yield logging.WARNING, line
