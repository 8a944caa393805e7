"""Which update rules the probe measures: every family, over its strengths and the partitions that make a difference."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from drpt.capture.options import Partition
from drpt.geometry.catalogue import AUTO
from drpt.modules.regularizer_spec import RegularizerSpec

PARTITIONS = tuple(member.value for member in Partition)
_SHARES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
_RELAXATIONS = (0.8, 0.6, 0.4, 0.2)
_RIDGES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Family:
    """One curve of the chart."""

    set: str
    strengths: tuple[float, ...] = ()  # from weak to strong; one alone where the relaxation is the dial
    score: str = "alignment"
    relaxations: tuple[float, ...] = ()  # ρ from weak to strong
    is_alike: bool = False  # the same coefficients in every block: partitions make no difference
    is_standard: bool = True  # measured unless families are named


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
# Whose strength is also chosen automatically, as is every relaxation: a point beside the curve. A lone target example has no
# spread to choose by.
_AUTOMATIC = ("mix", "hull", "span")


def rules(
    partition: str, *, families: Sequence[str], target_rows: int, base_weights: str, has_alike: bool
) -> Iterator[RegularizerSpec]:
    """The rules measured under one partition.

    Args:
        partition: A value of `Partition`.
        families: Names from `FAMILIES`.
        target_rows: m.
        base_weights: A value of `BaseWeights`.
        has_alike: Whether rules that do not depend on the partition are among them: once is enough.

    Yields:
        One specification a point, families in order, each from weak to strong, an automatic strength last.
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
                auto_memory=0.0,  # draws are no sequence of steps
                products="auto",
                base_weights=base_weights,
                scope="all",
                pool="step",
                stopping_share=0.0,
            )
