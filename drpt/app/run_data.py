"""Fingerprints of a run's texts, tokenizer and files: recorded when the run begins, compared whenever it is used again."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from drpt.analysis.run import DATA_FILE
from drpt.app.run_fitting import exclusion_reason_for, longest_response
from drpt.data.build_source import build_source
from drpt.data.fingerprint import source_fingerprint
from drpt.data.pools import Pools, draw_pools
from drpt.data.source import Source
from drpt.files import write_atomically
from drpt.models.fingerprint import files_fingerprint, model_fingerprints, named_model_fingerprint, paths_fingerprint
from drpt.rewards.build import build_reference_checks
from drpt.rewards.references import ChecksReferences, ReadableSource, require_readable
from drpt.tasks.run_spec import RunSpec

DATE = "date"  # entry of data.json
# Entries of data.json, with the message about a difference.
_SAID = {
    "fingerprint": "its examples differ (data.source)",
    "source": "the data that examples are drawn from differ (data.source)",
    "tokenizer": "the tokenizer or the chat template differs (model.name)",
    "model": "the model's weights or configuration differ (model.name)",
    "adapter": "the adapter differs (finetune.adapter)",
    "reward": "files of the reward or a judge differ (reward.*)",
    "reward_models": "models of the reward or a judge differ (reward.*)",
}


class DataChangedError(ValueError):
    """Data, files or model of a run have changed since it was made."""


@dataclass(frozen=True, kw_only=True)
class RunData:
    """The examples of a run, and fingerprints of everything it is made from."""

    pools: Pools
    fingerprints: Mapping[str, str | None]  # checksums by the keys of _SAID; None if unknown or not applicable
    date: datetime  # current date for chat templates that use it; not a fingerprint, since another day is not another run

    @property
    def remembered(self) -> dict[str, str | None]:
        """Fingerprints and date, for a checkpoint."""
        return dict(self.fingerprints) | {DATE: self.date.isoformat()}

    def record(self) -> dict[str, Any]:  # Any: JSON values
        """The contents of ``data.json``."""
        return self.remembered | {"sizes": self.pools.sizes, "left_out": self.pools.counts}

    def begun(self, *records: Mapping[str, Any]) -> "RunData":
        """A copy with the date on which the run began.

        Args:
            records: Records of the run from a checkpoint or ``data.json``; the first one with a date counts.

        Returns:
            The copy; unchanged if no record has a date.
        """
        known = [date for record in records if (date := recorded_date(record)) is not None]
        return replace(self, date=known[0]) if known else self


def describe_data(spec: RunSpec, source: Source) -> RunData:
    """Draw a run's examples and compute the fingerprints of everything it is made from.

    Args:
        spec: Checked configuration.
        source: Data source that was built from ``spec.data.source``.

    Returns:
        The examples and the fingerprints.

    Raises:
        ValueError: The source has too few examples, or the reward cannot read a reference.
    """
    checks = _reference_checks(spec)
    pools = _draw(spec, source, checks)
    for option, term in checks.items():
        if term.unreadable == "error":
            require_readable(option, term, [*pools.target, *pools.stopping, *pools.evaluation, *pools.general])
    texts = {"fingerprint": pools.fingerprint, "source": source_fingerprint(source)}
    now = datetime.now().replace(microsecond=0)
    return RunData(pools=pools, fingerprints=texts | _of_files(spec), date=now)


def _reference_checks(spec: RunSpec) -> dict[str, ChecksReferences]:
    return {} if spec.reward is None else build_reference_checks(spec.reward)


def _draw(spec: RunSpec, source: Source, checks: Mapping[str, ChecksReferences]) -> Pools:
    """Draw the pools; examples whose reference the reward cannot read are left out if the configuration says so."""
    readable = ReadableSource(source, [term for term in checks.values() if term.unreadable == "drop"])
    share = spec.stopping_share
    pools = draw_pools(readable, spec.data, seed=spec.seed, stopping_share=share, exclusion_reason=exclusion_reason_for(spec))
    return replace(pools, counts=pools.counts | readable.counts)


class DrawnBefore:
    """A cache of fingerprints: sources are built, and examples drawn, once for all runs that share them."""

    def __init__(self) -> None:
        self._sources: dict[str, tuple[Source, str]] = {}
        self._drawn: dict[str, str] = {}

    def fingerprints(self, spec: RunSpec) -> Mapping[str, str | None]:
        """The fingerprints of a run (see `RunData.fingerprints`).

        Args:
            spec: Checked configuration of the run.

        Returns:
            Checksums by name; None if unknown or not applicable.

        Raises:
            ValueError: The source cannot be built, or has too few examples.
        """
        key = json.dumps(spec.data.node, sort_keys=True)
        if key not in self._sources:
            built = build_source(spec.data.node)
            self._sources[key] = built, source_fingerprint(built)
        source, print_of_source = self._sources[key]
        # Which examples fit depends on the tokenizer and on the length of responses.
        room = [
            spec.task.name,
            spec.model.label,
            spec.model.chat_template,
            spec.model.chat_template_kwargs,
            longest_response(spec),
        ]
        reward = None if spec.reward is None else asdict(spec.reward)
        draw = json.dumps([asdict(spec.data), spec.seed, spec.stopping_share, reward, room], sort_keys=True)
        if draw not in self._drawn:
            self._drawn[draw] = _draw(spec, source, _reference_checks(spec)).fingerprint
        return {"fingerprint": self._drawn[draw], "source": print_of_source} | _of_files(spec)


def _of_files(spec: RunSpec) -> dict[str, str | None]:
    reward = [] if spec.reward is None else [spec.reward.terms, spec.reward.judges]
    prints = {"reward": _of_named_files(reward), "reward_models": _of_named_models(reward)}
    return model_fingerprints(spec.model, spec.finetune) | prints


def check_data_are_the_same(folder: Path, found: Mapping[str, str | None], recorded: Mapping[str, Any] | None = None) -> None:
    """Check that a run's data, files and model have not changed.

    Args:
        folder: Folder of the run; without a readable ``data.json`` nothing is compared.
        found: Present fingerprints (see `RunData`).
        recorded: Fingerprints from a checkpoint of the run; default: those in ``data.json``.

    Raises:
        DataChangedError: A present and a recorded fingerprint differ.
    """
    recorded = read_record(folder) if recorded is None else recorded
    pairs = {key: (recorded.get(key), found[key]) for key in _SAID}
    differing = [_SAID[key] for key, (then, now) in pairs.items() if None not in (then, now) and then != now]
    if differing:
        raise DataChangedError(
            f"{folder}: changed since this run was made: {'; '.join(differing)}. Undo the change, or use another sweep=…, so "
            "that the results are not mixed."
        )


def read_record(folder: Path) -> dict[str, Any]:  # Any: JSON values
    """The entries of a run's ``data.json``; empty if the file is missing or unreadable."""
    try:
        record = json.loads((folder / DATA_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def recorded_date(record: Mapping[str, Any]) -> datetime | None:
    """The date and time at which a run began, from its record; None if it has none."""
    try:
        return datetime.fromisoformat(record[DATE])
    except (KeyError, TypeError, ValueError):
        return None


def write_record(folder: Path, found: RunData) -> None:
    """Write ``data.json`` into a run's folder."""
    write_atomically(folder / DATA_FILE, json.dumps(found.record(), indent=1))


def _of_named_files(node: object) -> str | None:
    """A checksum of the files and folders that a part of a configuration names; None if it names none."""
    prints = [_of_path(path) for path in _paths(node)]
    return "-".join(filter(None, prints)) or None


def _of_named_models(node: object) -> str | None:
    """A checksum of the models (``model`` and ``revision``) that a part of a configuration names; None if it names none."""
    prints = [print_ for model, revision in _models(node) if (print_ := named_model_fingerprint(model, revision)) is not None]
    return "-".join(prints) or None


def _models(node: object) -> Iterator[tuple[str, str | None]]:
    if isinstance(node, Mapping):
        if isinstance(node.get("model"), str):
            yield node["model"], node.get("revision")
        for value in node.values():
            yield from _models(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _models(value)


def _of_path(path: Path) -> str | None:
    try:
        return files_fingerprint(path, ("*",)) if path.is_dir() else paths_fingerprint([path])
    except (OSError, ValueError):  # a text that cannot be a path
        return None


def _paths(node: object, key: str = "") -> Iterator[Path]:
    """Texts that are paths, judging by their key or slashes: a label may equal a folder's name by chance."""
    if isinstance(node, str):
        if key == "path" or "/" in node:
            yield Path(node).expanduser()
    elif isinstance(node, Mapping):
        for name, value in node.items():
            yield from _paths(value, name)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _paths(value, key)
