"""Which runs are replicates of one point, and what tells points apart."""

from collections.abc import Callable, Sequence

from drpt.analysis.run import Run


def group_runs(runs: Sequence[Run], settings: Callable[[Run], dict[str, object]]) -> list[list[Run]]:
    """Runs whose settings are the same, together.

    Args:
        runs: In any order.
        settings: What must agree, such as `settings_of`.

    Returns:
        Groups in the order of their first runs.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(repr(sorted(settings(run).items())), []).append(run)
    return list(groups.values())


# Where results go and what is kept of a run: replicates may differ in them.
_OF_NO_RESULT = (
    "sweep",
    "runs_folder",
    "logger.",
    "trainer.keep_steps",
    "trainer.checkpoint_every_steps",
    "trainer.check_capture",
    "trainer.score_check_steps",
    "rollout.kv_cache_mib",
    "rollout.probe_",
    "rollout.threads",
    "rollout.token_variable",
    "rollout.url",
    "rollout.weights_folder",
)
# Options that came into being later: null is what was done before them.
_NULL_AS_BEFORE = ("finetune.adapter", "finetune.adapter_use")


def settings_of(run: Run) -> dict[str, object]:
    """What two replicates have in common, flattened: all but the seed and what changes no result."""
    flat: dict[str, object] = {}

    def add(prefix: str, value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{prefix}.{key}" if prefix else str(key), inner)
        elif prefix != "seed" and not prefix.startswith(_OF_NO_RESULT) and (value is not None or prefix not in _NULL_AS_BEFORE):
            flat[prefix] = value

    add("", run.config)
    return flat


def point_labels(names: Sequence[str], settings: Sequence[dict[str, object]]) -> list[str]:
    """Names with the settings that tell them apart, or that differ between them without being the regularizer's.

    Args:
        names: One a point; several may bear the same.
        settings: One a point, see `settings_of`.

    Returns:
        One a point.
    """

    def differing(points: Sequence[dict[str, object]]) -> list[str]:
        keys = dict.fromkeys(key for point in points for key in point)
        return [key for key in keys if len({repr(point.get(key)) for point in points}) > 1]

    outside = _shortened([key for key in differing(settings) if not key.startswith("regularizer.")])
    labels = []
    for name, own in zip(names, settings, strict=True):
        alike = [point for point, other in zip(settings, names, strict=True) if other == name]
        inside = [key for key in differing(alike) if key.startswith("regularizer.")]
        parts = [f"{key.removeprefix('regularizer.')}={own.get(key)}" for key in [*inside, *outside]]
        labels.append(" ".join([name, *parts]))
    return labels


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
