"""Reads a sweep's folder: the readable runs, and the state of every job, for all commands that take a sweep."""

import errno
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from drpt.analysis.run import (
    CHECKPOINTS,
    COMMANDS_FILE,
    CONFIG_FILE,
    DATA_FILE,
    ENVIRONMENT_FILE,
    LOCK_FILE,
    OUTCOMES_FILE,
    SAMPLES_FILE,
    SUMMARY_FILE,
    ResultsError,
    Run,
    read_run,
)
from drpt.analysis.run_files import checked_summary, read_json
from drpt.metrics import METRICS_FILE

_ROLLOUTS_FILE = "rollouts.jsonl"  # name in `drpt.modules.rollout_tables`, which imports torch
# A folder with one of these files is, or was, the folder of a run.
RUN_FILES = (
    *(SUMMARY_FILE, CONFIG_FILE, METRICS_FILE, SAMPLES_FILE, OUTCOMES_FILE, DATA_FILE, ENVIRONMENT_FILE, _ROLLOUTS_FILE),
    CHECKPOINTS,
)
_LONGEST = 400  # largest number of characters of a quoted error


class State(StrEnum):
    """The state of a job; messages count jobs in this order."""

    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    KILLED = "killed"
    RUNNING = "running"
    MISSING = "missing"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job of a sweep."""

    name: str  # name of its folder
    state: State
    reason: str = ""  # reason why it is not finished
    point: str = ""  # checksum of an unfinished job's settings (`drpt.run_identity.point_of`); empty if unknown


@dataclass(frozen=True, kw_only=True)
class Sweep(Sequence[Run]):
    """The readable runs of a folder, ordered by name, and the state of every known job.

    Jobs are known by their folders, and by the record of the sweep's commands, which early versions did not write.
    """

    folder: Path
    runs: tuple[Run, ...]  # readable runs, finished or not
    jobs: tuple[Job, ...]  # all known jobs, ordered by name
    has_plan: bool  # whether all commands recorded their jobs, so that missing ones are known
    damaged_record: str  # fault of the record of commands; empty if there is none
    is_resumable: bool  # whether the sweep's commands are recorded

    @overload
    def __getitem__(self, place: int) -> Run: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Run, ...]: ...
    def __getitem__(self, place: int | slice) -> Run | tuple[Run, ...]:
        return self.runs[place]

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @cached_property
    def finished(self) -> tuple[Run, ...]:
        """Runs that took all their steps and can be read."""
        return tuple(run for run in self.runs if run.is_finished)

    @cached_property
    def unfinished(self) -> tuple[Job, ...]:
        """Jobs in any other state than finished."""
        return tuple(job for job in self.jobs if job.state is not State.FINISHED)

    @property
    def is_complete(self) -> bool:
        """Whether every known job is finished and readable."""
        return bool(self.jobs) and not self.unfinished and not self.damaged_record

    @cached_property
    def unfinished_points(self) -> Mapping[str, int]:
        """Number of unfinished jobs of each known point."""
        return Counter(job.point for job in self.unfinished if job.point)

    def count(self, state: State) -> int:
        """Number of jobs in a state."""
        return sum(job.state is state for job in self.jobs)


def read_sweep(folder: Path) -> Sweep:
    """Read every run of a sweep; damaged ones are left out and named among the jobs.

    Args:
        folder: Folder of a sweep, or of a single run.

    Returns:
        A sweep with at least one job, though perhaps without readable runs.

    Raises:
        ResultsError: There is neither a run nor a record of commands.
    """
    commands = folder / COMMANDS_FILE
    is_single = not commands.exists() and _is_run(folder)
    planned, has_plan, damage = ({}, True, "") if is_single else _planned_jobs(commands)
    names = {folder.name: folder} if is_single else {path.name: path for path in _entries(folder) if _is_run(path)}
    names |= {name: folder / name for name in planned}
    if not names and not commands.exists():
        raise ResultsError(f"{folder} has no runs. Create some with `drpt train -m …`, or give the folder of a sweep.")
    found = [_look_at(names[name], planned.get(name, "")) for name in sorted(names)]
    return Sweep(
        folder=folder,
        runs=tuple(run for _, run in found if run is not None),
        jobs=tuple(job for job, _ in found),
        has_plan=has_plan,
        damaged_record=damage,
        is_resumable=(folder.parent / COMMANDS_FILE if is_single else commands).exists(),
    )


def newest_sweep(runs_folder: Path) -> Path:
    """Find the sweep that was written to last.

    Args:
        runs_folder: Folder of all sweeps.

    Returns:
        Folder of the sweep.

    Raises:
        ResultsError: There is no sweep.
    """
    written = {path: path.parent.parent for path in runs_folder.glob(f"*/*/{SUMMARY_FILE}")}
    written |= {path: path.parent for path in runs_folder.glob(f"*/{COMMANDS_FILE}")}
    times = {path: time for path in written if (time := _time_of(path)) is not None}
    if not times:
        raise ResultsError(f"There is no sweep under {runs_folder}/: create one with `drpt train -m …`, or give its folder.")
    return written[max(times, key=lambda path: times[path])]


def _time_of(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:  # such as a broken link
        return None


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise ResultsError(f"{folder} cannot be read ({error.strerror}): give the folder of a sweep.") from error


def _is_run(folder: Path) -> bool:
    # The file that every run has comes first, which saves checks.
    return any((folder / name).exists() for name in RUN_FILES)


def _planned_jobs(path: Path) -> tuple[dict[str, str], bool, str]:
    """Read the jobs that a sweep's commands planned.

    Returns:
        Points by job name; whether all commands recorded their jobs; and the fault of the record.
    """
    try:
        lines = [line for line in path.read_bytes().splitlines() if line.strip()]
    except FileNotFoundError:
        return {}, False, ""
    except OSError as error:
        return {}, False, f"{path} cannot be read ({error.strerror})"
    records = [_command_of(line) for line in lines]
    num_damaged = records.count(None)
    jobs = [record.get("jobs") for record in records if record is not None]
    planned = {name: point for own in jobs if own is not None for name, point in own.items()}
    damage = f"{path} is damaged: {num_damaged} of its {len(lines)} lines" if num_damaged else ""
    return planned, bool(lines) and not num_damaged and None not in jobs, damage if lines else f"{path} is empty"


def _command_of(line: bytes) -> dict[str, Any] | None:
    """The record of one command, with or without its jobs; None if it is damaged."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or "words" not in record:
        return None
    jobs = record.get("jobs", {})
    is_right = isinstance(jobs, dict) and all(name and "/" not in name and isinstance(jobs[name], str) for name in jobs)
    return record if is_right else None


def _look_at(folder: Path, point: str) -> tuple[Job, Run | None]:
    """The state of a job, and its run if that is readable; ``point`` is the planned point."""
    name = folder.name
    try:
        run = read_run(folder)
    except ResultsError as error:
        if not _is_run(folder):
            return replace(_not_begun(folder), point=point), None
        state, reason = _told_state(folder)
        if state in (None, State.FINISHED):
            state, reason = State.UNREADABLE, str(error).removeprefix(f"{folder}/")
        return Job(name=name, state=state, reason=reason, point=point), None
    state, reason = _state_of(run.summary, folder)
    return Job(name=name, state=state, reason=reason, point="" if run.is_finished else run.point), run


def _not_begun(folder: Path) -> Job:
    if os.path.lexists(folder) and not folder.is_dir():
        what = "a file" if folder.exists() else "a broken link"
        return Job(name=folder.name, state=State.UNREADABLE, reason=f"{folder} is {what}: move it away")
    if is_locked(folder):
        return Job(name=folder.name, state=State.RUNNING, reason="it has just begun")
    return Job(name=folder.name, state=State.MISSING, reason="it has not begun")


def _told_state(folder: Path) -> tuple[State | None, str]:
    """The state according to the summary alone, since a job that failed early has no configuration."""
    try:
        return _state_of(checked_summary(read_json(folder / SUMMARY_FILE)), folder)
    except (OSError, ValueError, RecursionError):
        return None, ""


def _state_of(summary: dict[str, object], folder: Path) -> tuple[State, str]:
    status = summary["status"]
    if status == "finished":
        return State.FINISHED, ""
    if status == "running":
        locked = is_locked(folder)
        if locked is False:
            return State.KILLED, "its process ended without recording a reason"
        return (
            State.RUNNING,
            "another process is running it" if locked else "by its summary; this file system has no locks to confirm it",
        )
    reason = " ".join(str(summary.get("error", "")).split())
    reason = reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]}…"
    if status == "failed":
        return State.FAILED, reason or "no reason is recorded"
    return State.INTERRUPTED, reason or "it was stopped"


def is_locked(folder: Path) -> bool | None:
    """Whether a process is running the job of a folder.

    Args:
        folder: Folder of the run.

    Returns:
        True or False; None if the file system cannot tell.
    """
    try:
        import fcntl
    except ImportError:  # not a Unix system
        return None
    try:
        file = (folder / LOCK_FILE).open("rb")
    except FileNotFoundError:
        return False
    except OSError:
        return None
    with file:
        try:
            # A shared lock, released at once: several checks do not disturb each other, and a starting job retries briefly.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return True if error.errno in (errno.EAGAIN, errno.EACCES) else None
    return False
