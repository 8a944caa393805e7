"""Which runs are replicates of one point, and what tells points apart."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from drpt import run_identity
from drpt.analysis.run import Run

# Of what runs of every seed have in common: entries of data.json.
_OF_EVERY_SEED = ("source", "tokenizer", "model", "adapter", "reward", "reward_models")
_NOT_RECORDED = "not recorded"
_DATA = " data="
_NUM_DIGITS = 8


@dataclass(frozen=True, kw_only=True)
class Point:
    """The replicates of one point, and runs that were left out of it."""

    runs: tuple[Run, ...]  # one a seed, by seed
    repeated: tuple[Run, ...]  # of a seed that is among `runs` already
    data: str  # a short checksum of what every seed draws from; empty where runs recorded none


def find_points(runs: Sequence[Run]) -> list[Point]:
    """Pool runs that differ in their seed alone and were made from the same data, files and model.

    A seed counts once: of two runs of one seed, such as a copy of a folder, the one that began later is left out.

    Args:
        runs: In any order.

    Returns:
        Points in the order of their first runs.
    """
    points = []
    for members in group_runs(runs, lambda run: (settings_of(run), data_of(run))):
        by_seed: dict[int, Run] = {}
        repeated = []
        for run in sorted(members, key=lambda run: str(run.summary.get("started", ""))):
            if by_seed.setdefault(run.config["seed"], run) is not run:
                repeated.append(run)
        chosen = tuple(by_seed[seed] for seed in sorted(by_seed))
        points.append(Point(runs=chosen, repeated=tuple(repeated), data=data_of(members[0])))
    return points


def group_runs(runs: Sequence[Run], what: Callable[[Run], object]) -> list[list[Run]]:
    """Runs for which something is the same, together.

    Args:
        runs: In any order.
        what: What must agree, of values that JSON can hold.

    Returns:
        Groups in the order of their first runs.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps(what(run), sort_keys=True, default=repr), []).append(run)
    return list(groups.values())


def settings_of(run: Run) -> dict[str, object]:
    """What two replicates have in common, see `drpt.run_identity.settings_of`."""
    return run.settings


def data_of(run: Run) -> str:
    """What a run draws from, whatever its seed, and the files of its model and reward.

    Args:
        run: The run.

    Returns:
        A short checksum; empty where the run recorded none, as of a version before these were recorded.
    """
    known = {key: run.data[key] for key in _OF_EVERY_SEED if run.data.get(key) is not None}
    return run_identity.checksum(known)[:_NUM_DIGITS] if known else ""


def point_labels(names: Sequence[str], settings: Sequence[dict[str, object]], data: Sequence[str]) -> list[str]:
    """Names with the settings that tell them apart, or that differ between them without being the regularizer's.

    Args:
        names: One a point; several may bear the same.
        settings: One a point, see `settings_of`.
        data: One a point, see `Point.data`; shown where nothing else tells two points apart.

    Returns:
        One a point.
    """

    def differing(points: Sequence[dict[str, object]]) -> list[str]:
        keys = dict.fromkeys(key for point in points for key in point)
        return [key for key in keys if len({repr(point.get(key)) for point in points}) > 1]

    outside = _shortened([key for key in differing(settings) if not key.startswith("regularizer.")])
    alike: dict[str, list[dict[str, object]]] = {}
    for name, own in zip(names, settings, strict=True):
        alike.setdefault(name, []).append(own)
    inside = {name: [key for key in differing(points) if key.startswith("regularizer.")] for name, points in alike.items()}
    labels = []
    for name, own in zip(names, settings, strict=True):
        parts = [f"{key.removeprefix('regularizer.')}={own.get(key)}" for key in [*inside[name], *outside]]
        labels.append(" ".join([name, *parts]))
    counts = Counter(labels)
    return [
        f"{label}{_DATA}{found or _NOT_RECORDED}" if counts[label] > 1 else label
        for label, found in zip(labels, data, strict=True)
    ]


def is_told_by_data(label: str) -> bool:
    """Whether a point's data alone tell it from another one, see `point_labels`."""
    return _DATA in label


def _shortened(keys: Sequence[str]) -> list[str]:
    """Of a whole group that was exchanged, the key that says which it is."""
    sections: dict[str, list[str]] = {}
    for key in keys:
        sections.setdefault(key.split(".")[0], []).append(key)
    telling = (".name", ".method", ".source", ".source.target", ".source._target_")
    return [
        key
        for section, members in sections.items()
        for key in (
            members if len(members) == 1 else [k for k in members if k.removeprefix(section) in telling][:1] or members[:2]
        )
    ]
