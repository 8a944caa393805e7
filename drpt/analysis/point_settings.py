"""Groups runs into points of a table, whose runs are replicates of each other, and labels the differences between points."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from drpt import run_identity
from drpt.analysis.run import Run

# Entries of data.json that are the same for all seeds.
_OF_EVERY_SEED = ("source", "tokenizer", "model", "adapter", "reward", "reward_models")
_NOT_RECORDED = "not recorded"
_DATA = " data="
_NUM_DIGITS = 8


@dataclass(frozen=True, kw_only=True)
class Point:
    """The replicates of one point, and runs that were left out of it."""

    runs: tuple[Run, ...]  # one run for each seed, ordered by seed
    repeated: tuple[Run, ...]  # further runs of seeds that are among `runs`
    data: str  # short checksum of the data that all seeds draw from; empty if runs recorded none


def find_points(runs: Sequence[Run]) -> list[Point]:
    """Group runs that differ in their seed alone and were made from the same data, files and model.

    Each seed counts once: of two runs with one seed, such as a copy of a folder, the one that began later is left out.

    Args:
        runs: Runs in any order.

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
    """Group runs by a key.

    Args:
        runs: Runs in any order.
        what: Function that returns the key of a run, a value that JSON can hold.

    Returns:
        Groups in the order of their first runs.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps(what(run), sort_keys=True, default=repr), []).append(run)
    return list(groups.values())


def settings_of(run: Run) -> dict[str, object]:
    """The settings that replicates share (`drpt.run_identity.settings_of`)."""
    return run.settings


def data_of(run: Run) -> str:
    """A checksum of the data that all seeds of a run draw from, and of the files of its model and reward.

    Args:
        run: A run.

    Returns:
        A short checksum; empty if the run recorded no fingerprints, as in early versions.
    """
    known = {key: run.data[key] for key in _OF_EVERY_SEED if run.data.get(key) is not None}
    return run_identity.checksum(known)[:_NUM_DIGITS] if known else ""


def point_labels(names: Sequence[str], settings: Sequence[dict[str, object]], data: Sequence[str]) -> list[str]:
    """Labels of points: names with the settings that distinguish them, or that differ outside of the regularizer.

    Args:
        names: Name of each point; names may repeat.
        settings: Settings of each point, from `settings_of`.
        data: Checksum of each point (see `Point.data`), shown if nothing else distinguishes two points.

    Returns:
        The label of each point.
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
    """Whether only the data distinguish a point from another one (see `point_labels`)."""
    return _DATA in label


def _shortened(keys: Sequence[str]) -> list[str]:
    """Replace the keys of a whole group that differs by the key that names the choice."""
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
