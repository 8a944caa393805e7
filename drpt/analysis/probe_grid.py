"""Which update rules the probe measures: every family, over its strengths and the partitions that make a difference.

A family is a curve that the entry of a set (`drpt.geometry.entry.SetEntry`) asks for, also one from outside the package.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from drpt.capture.options import Partition
from drpt.geometry.catalogue import SETS
from drpt.geometry.entry import AUTO, Curve, SetEntry
from drpt.geometry.lookup import is_dotted_path, set_entry
from drpt.modules.regularizer_spec import RegularizerSpec

PARTITIONS = tuple(member.value for member in Partition)
_BLACK = "#000000"  # a regularizer that no family has


@dataclass(frozen=True)
class Family:
    """A family of rules, shown as one curve."""

    set: str
    curve: Curve
    is_alike: bool  # the same coefficients in every block: partitions make no difference

    @property
    def name(self) -> str:
        """The name of the curve."""
        return self.curve.name


def _families(entries: Mapping[str, SetEntry]) -> dict[str, Family]:
    """Curves by name: those that are standard first, and of these the relaxed ones last."""
    found = [Family(name, curve, entry.is_alike) for name, entry in entries.items() for curve in entry.curves]
    found.sort(key=lambda family: (not family.curve.is_standard, bool(family.curve.relaxations)))
    return {family.name: family for family in found}


FAMILIES = _families(SETS)
STANDARD = tuple(name for name, family in FAMILIES.items() if family.curve.is_standard)


def families_of(name: str) -> dict[str, Family]:
    """The families of a set from outside the package.

    Args:
        name: Name or dotted path of a set.

    Returns:
        Families by name; none for a set of the package, whose families are among `FAMILIES`.
    """
    entry = set_entry(name) if is_dotted_path(name) else None
    return {} if entry is None else {key: family for key, family in _families({name: entry}).items() if key not in FAMILIES}


def is_alike(rule: RegularizerSpec) -> bool:
    """Whether a rule of a family gives the same update under every partition."""
    family = _family(rule)
    return family is not None and family.is_alike


def colour_of(rule: RegularizerSpec) -> str:
    """The colour of a rule's family; black for a regularizer that no family has."""
    family = _family(rule)
    return _BLACK if family is None else family.curve.colour


def _family(rule: RegularizerSpec) -> Family | None:
    return FAMILIES.get(rule.name) or families_of(rule.set).get(rule.name)


def rules(
    partition: str, *, families: Sequence[Family], target_rows: int, base_weights: str, has_alike: bool
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
    for family in families:
        curve = family.curve
        if family.is_alike and not has_alike:
            dials: list[tuple[float | str | None, float | str]] = []
        elif curve.relaxations:
            dials = [(_only(curve), relaxation) for relaxation in curve.relaxations]
        else:
            dials = [(strength, 0.0) for strength in curve.strengths or (None,)]
        if target_rows > 1 and curve.relaxations:  # a single target example has no spread to choose by
            dials.append((_only(curve), AUTO))
        elif target_rows > 1 and curve.has_auto:
            dials.append((AUTO, 0.0))
        for strength, relaxation in dials:
            yield RegularizerSpec(
                name=family.name,
                set=family.set,
                partition=partition,
                score=curve.score,
                strength=strength,
                relaxation=relaxation,
                step_size=None,
                auto_memory=0.0,  # draws are not consecutive steps
                products="auto",
                base_weights=base_weights,
                parameters="all",
                choice_scope="step",
                stopping_share=0.0,
            )


def _only(curve: Curve) -> float | None:
    return curve.strengths[0] if curve.strengths else None
