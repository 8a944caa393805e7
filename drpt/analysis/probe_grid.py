"""Which update rules the probe measures: every family, over its strengths and the partitions that make a difference."""

from collections.abc import Iterator

from drpt.geometry.catalogue import SETS, Partition
from drpt.geometry.spec import RegularizerSpec

PARTITIONS = tuple(member.value for member in Partition)
_SHARES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
_FAMILIES: dict[str, tuple[str, str, tuple[float, ...] | None]] = {
    # name: set, score, strengths
    "target_only": ("whole_space", "alignment", None),
    "full": ("mean", "alignment", None),
    "mix": ("ball", "alignment", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9)),
    "subset": ("subset", "alignment", _SHARES),
    "random_subset": ("subset", "random", _SHARES),
    "filter": ("filter", "alignment", (0.0, 0.25, 0.5, 0.75, 1.0)),
    "hull": ("hull", "alignment", _SHARES),
    "cone": ("cone", "alignment", (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)),
    "span": ("span", "alignment", (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)),
    "halfspace": ("halfspace", "alignment", None),
    "dual_cone": ("dual_cone", "alignment", (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)),
}
# Their coefficients are the same in every block, so that partitions make no difference.
_ALIKE = ("target_only", "full", "mix")


def rules(partition: str) -> Iterator[RegularizerSpec]:
    """The rules measured under one partition.

    Args:
        partition: A value of `Partition`; rules that do not depend on it are given under ``global`` alone.

    Yields:
        One specification a point, families in order, each from weak to strong.
    """
    for name, (feasible_set, score, strengths) in _FAMILIES.items():
        assert feasible_set in SETS
        if name in _ALIKE and partition != "global":
            continue
        for strength in strengths or (None,):
            yield RegularizerSpec(
                name=name,
                set=feasible_set,
                partition=partition,
                score=score,
                strength=strength,
                relaxation=0.0,
                step_size=None,
                auto_memory=0.0,
                products="auto",
                base_weights="example",
                stopping_share=0.0,
            )
