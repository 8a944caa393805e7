"""The update rules that `drpt probe` measures: every family, over its strengths and relevant partitions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from drpt.geometry.catalogue import AUTO, Partition
from drpt.geometry.spec import RegularizerSpec

PARTITIONS = tuple(member.value for member in Partition)
_SHARES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
_RELAXATIONS = (0.8, 0.6, 0.4, 0.2)
_RIDGES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Family:
    """A family of rules, shown as one curve."""

    set: str
    strengths: tuple[float, ...] = ()  # strengths from weak to strong; a single one if the relaxation is varied
    score: str = "alignment"
    relaxations: tuple[float, ...] = ()  # relaxations ρ from weak to strong regularization
    is_alike: bool = False  # whether coefficients are the same in every block, so that partitions make no difference
    is_standard: bool = True  # whether the family is measured by default


FAMILIES: dict[str, Family] = {
    "target_only": Family("whole_space", is_alike=True),
    "full": Family("mean", is_alike=True),
    "mix": Family("ball", _SHARES, is_alike=True),
    "random_subset": Family("subset", _SHARES, score="random"),
    "subset": Family("subset", _SHARES),
    "greedy_euclidean": Family("greedy_euclidean", _SHARES),
    "filter": Family("filter", (0.0, 0.25, 0.5, 0.75, 1.0)),
    "l2rw": Family("l2rw"),
    "hull": Family("hull", _SHARES),
    "cone": Family("cone", _RIDGES),
    "span": Family("span", _RIDGES),
    "top_span": Family("top_span", (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875)),
    "halfspace": Family("halfspace"),
    "dual_cone": Family("dual_cone", (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5)),
    "subset_relaxed": Family("subset", (0.5,), relaxations=_RELAXATIONS),
    "hull_relaxed": Family("hull", (0.5,), relaxations=_RELAXATIONS),
    "span_relaxed": Family("span", (0.1,), relaxations=_RELAXATIONS),
    "exact_subset": Family("exact_subset", _SHARES, is_standard=False),
    "gradmatch": Family("gradmatch", _SHARES, is_standard=False),
    "pcgrad": Family("pcgrad", score="random", is_standard=False),
    "mgda": Family("mgda", is_standard=False),
    "cagrad": Family("cagrad", (0.1, 0.3, 0.5, 0.7, 0.9), is_standard=False),
}
STANDARD = tuple(name for name, family in FAMILIES.items() if family.is_standard)
# Families that also get a point with automatic strength. Automatic dials (this and every relaxation) need a spread among
# target examples, so at least two of them.
_AUTOMATIC = ("mix", "hull", "span")


def rules(
    partition: str, *, families: Sequence[str], target_rows: int, base_weights: str, has_alike: bool
) -> Iterator[RegularizerSpec]:
    """The rules to measure under one partition.

    Args:
        partition: Value of `Partition`.
        families: Names from `FAMILIES`.
        target_rows: Number m of target examples in a step.
        base_weights: Value of `BaseWeights`.
        has_alike: Whether to include rules that do not depend on the partition, which need to be measured only once.

    Yields:
        A specification for each point, family by family, from weak to strong, the automatic strength last.
    """
    for name, family in FAMILIES.items():
        if name not in families:
            continue
        if family.is_alike and not has_alike:
            dials: list[tuple[float | str | None, float | str]] = []
        elif family.relaxations:
            dials = [(family.strengths[0], relaxation) for relaxation in family.relaxations]
        else:
            dials = [(strength, 0.0) for strength in family.strengths or (None,)]
        if target_rows > 1 and family.relaxations:
            dials.append((family.strengths[0], AUTO))
        elif target_rows > 1 and name in _AUTOMATIC:
            dials.append((AUTO, 0.0))
        for strength, relaxation in dials:
            yield RegularizerSpec(
                name=name,
                set=family.set,
                partition=partition,
                score=family.score,
                strength=strength,
                relaxation=relaxation,
                step_size=None,
                auto_memory=0.0,  # draws are not consecutive steps
                products="auto",
                base_weights=base_weights,
                scope="all",
                pool="step",
                stopping_share=0.0,
            )
