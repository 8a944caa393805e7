"""Log messages on the pools of a run before training: their sizes, and the examples left out."""

import logging
from collections.abc import Iterator

from drpt.data.pools import Pools
from drpt.data.spec import DataSpec


def spoken(pools: Pools, spec: DataSpec) -> Iterator[tuple[int, str]]:
    """Describe the pools in lines for the log.

    Args:
        pools: Pools as drawn.
        spec: The `data` config group.

    Yields:
        Level of `logging` and text of each line.
    """
    sizes = pools.sizes
    stopping = f", {sizes['stopping']} for early stopping" if sizes["stopping"] else ""
    yield (
        logging.INFO,
        f"data={spec.label}: {sizes['general']:,} general and {sizes['target']:,} target examples for training{stopping}, "
        f"{sizes['evaluation']:,} for evaluation",
    )
    for line in pools.chosen:
        yield logging.INFO, line
    same = sum(count for name, count in pools.counts.items() if name.endswith("_same_prompt"))
    if same:
        yield logging.INFO, f"kept {same} examples that are further responses to a prompt in their pool"
    near = sum(count for name, count in pools.counts.items() if name.endswith("_near_duplicate"))
    if near:
        yield (
            logging.INFO,
            f"left out {near} near-duplicates of examples in another pool (data.near_duplicates={spec.near_duplicates}; null "
            "keeps them), such as:",
        )
        for found in pools.near_duplicates:
            yield logging.INFO, f"  {found}"
    for line in pools.warnings:
        yield logging.WARNING, line
