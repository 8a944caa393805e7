"""Counts overlaps in the study's pools; ``python -m experiments.rlvr_curve.pools`` takes seconds and needs no model.

For each seed: the number of held-out sums that are distinct up to the order of their terms, the number of general prompts that
were left out because they ask a held-out sum in other words, and the number of remaining ones that do.
"""

from collections.abc import Sequence

from drpt.app.compose import compose_run
from drpt.app.config import check_config
from drpt.data.build_source import build_source
from drpt.data.example import Example
from drpt.data.expressions import canonical
from drpt.data.pools import draw_pools
from drpt.data.sameness import Asked

_SEEDS = (0, 1, 2)


def main() -> None:
    """Print a line a seed."""
    data = check_config(compose_run(["experiment=demo_rlvr", "sweep=pools"])).data
    source = build_source(data.node)
    for seed in _SEEDS:
        pools = draw_pools(source, data, seed=seed, stopping_share=0.0)
        asked = Asked()
        for example in pools.evaluation:
            asked.add(example)
        print(
            f"seed {seed}: {len(pools.evaluation)} held-out sums, {num_distinct(pools.evaluation)} distinct up to order; "
            f"{pools.counts.get('general_held_out', 0)} general prompts left out that ask one, "
            f"{pools.counts.get('general_in_target', 0)} that ask a target sum; of the {len(pools.general)} that stay "
            f"{sum(map(asked.has, pools.general))} ask a held-out one"
        )


def num_distinct(examples: Sequence[Example]) -> int:
    """Number of sums that are distinct up to the order of their terms."""
    return len({canonical(str(example.payload["metadata"]["expression"])) for example in examples})


if __name__ == "__main__":
    main()
