"""Runs a `drpt train` command, and runs recorded commands again for `drpt resume`."""

import json
import logging
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from drpt.analysis.run import COMMANDS_FILE, ResultsError
from drpt.app.command import base_words, read_command
from drpt.app.compose import compose
from drpt.app.hydra_run import ask, run_jobs, run_one
from drpt.app.job import check_finished, is_finished, needs_nothing
from drpt.app.prepare import MULTIRUN, QUESTIONS, prepare
from drpt.app.run_data import DataChangedError, DrawnBefore
from drpt.app.sweep import SweepPlan
from drpt.app.words import word
from drpt.files import append_line, remove_parts
from drpt.interruption import Interrupted
from drpt.renamed import new_word
from drpt.storage import require_file, require_folder
from drpt.tasks.errors import ConfigError
from drpt.tasks.run_spec import RunSpec

_log = logging.getLogger(__name__)
_HYDRAS_LOG = "train.log"  # name set in conf/train.yaml


def launch(words: Sequence[str], *, record: bool = True) -> Path | None:
    """Run a single job or a sweep.

    Args:
        words: Flags and overrides as typed after `drpt train`.
        record: Whether to record the command in the sweep's folder, for `resume`.

    Returns:
        The sweep's folder, or None if the command only printed the configuration (``--cfg job`` and the like).

    Raises:
        ConfigError: The command is faulty.
        Interrupted: The process received a signal to end.
    """
    if not QUESTIONS.isdisjoint(words):
        _answer(words)
        return None
    console = Console(stderr=True, highlight=False)
    prepared = prepare(words, console)
    folder, plan, command = prepared.folder, prepared.plan, prepared.command
    if plan is None:
        _record(folder, prepared.typed if record else (), None)
        with _resumable(folder):
            ask(["-m", *(said.spelled.text for said in command)])
        return folder
    for name in plan.names:
        require_folder(folder / name)  # Hydra would fail with a traceback if it could not create them
        require_file(folder / name / _HYDRAS_LOG)
    finished = {name: spec for name, spec in plan.specs.items() if is_finished(folder / name)}
    if prepared.is_sweep:
        _say(console, plan, num_finished=len(finished))
    _check_finished_jobs(folder, finished)
    _record(folder, prepared.typed if record else (), plan.points)
    with _resumable(folder):
        if not prepared.is_sweep:
            run_one([said.spelled.text for said in command])
        elif jobs := [plan.words[name] for name in plan.names if name not in finished or not needs_nothing(folder / name)]:
            first = next(iter(plan.specs.values()))
            own = [word("runs_folder", first.runs_folder), word("sweep", first.sweep)]
            run_jobs([*base_words(command), *own], jobs, num_finished=len(finished))
    return folder


def _say(console: Console, plan: SweepPlan, *, num_finished: int) -> None:
    for line in plan.left_out:
        console.print(line, markup=False, soft_wrap=True)
    notes = [f"{len(plan.names)} job{'s'[: len(plan.names) != 1]}"]
    if plan.num_duplicates:
        notes.append(f"{plan.num_duplicates} duplicates of these are skipped")
    if num_finished:
        notes.append(f"{num_finished} {'is' if num_finished == 1 else 'are'} already finished and skipped")
    console.print("; ".join(notes), soft_wrap=True)


def _check_finished_jobs(folder: Path, specs: Mapping[str, RunSpec]) -> None:
    """Check, before training more jobs, that the finished jobs of a sweep were made from the present data and files.

    Raises:
        ConfigError: A finished job was made from other data or files.
    """
    faults, drawn = [], DrawnBefore()
    for name, spec in specs.items():
        try:
            check_finished(folder / name, spec, drawn)
        except DataChangedError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))


def _answer(words: Sequence[str]) -> None:
    """Let Hydra print the configuration, with overrides in its grammar."""
    overrides = [text for text in words if not text.startswith("-") and ("=" in text or text.startswith("~"))]
    command = read_command(overrides, is_sweep=not MULTIRUN.isdisjoint(words))
    if not any(said.is_sweep for said in command) and (faults := compose(command).faults):
        raise ConfigError("\n".join(faults))
    ask([*(text for text in words if text not in overrides), *(said.spelled.text for said in command)])


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Add to an interruption between two jobs how to resume the sweep."""
    try:
        yield
    except Interrupted as stop:
        stop.words = stop.words or f"`drpt resume {shlex.quote(str(folder))}` runs the remaining jobs"
        raise


def _record(folder: Path, typed: Sequence[str], jobs: Mapping[str, str] | None) -> None:
    """Record a command for `resume`, and its jobs, so that tables report the missing ones.

    An empty command means that a recorded one is being resumed.
    """
    remove_parts(folder, is_ours=False)
    if typed:
        record = {"folder": str(Path.cwd()), "words": list(typed)} | ({} if jobs is None else {"jobs": dict(jobs)})
        append_line(folder / COMMANDS_FILE, json.dumps(record))


def resume(folder: Path) -> None:
    """Run a sweep's commands again: finished jobs are skipped, the others continue.

    Args:
        folder: Folder of the sweep, which may have been moved or renamed.

    Raises:
        ConfigError: A command is no longer valid, or the folder that its relative paths start from is unreachable.
        ResultsError: There is no record of commands.
    """
    folder = folder.resolve()
    for command in recorded_commands(folder):
        if Path(command.folder) != Path.cwd() and Path(command.folder).is_dir():
            os.chdir(command.folder)  # relative paths of data start here
        launch([*command.words, word("runs_folder", str(folder.parent)), word("sweep", folder.name)], record=False)


@dataclass(frozen=True, slots=True)
class Command:
    """A `drpt train …` command as it was typed."""

    folder: str  # current folder when the command was given
    words: tuple[str, ...]  # flags and overrides after `drpt train`


def recorded_commands(folder: Path) -> list[Command]:
    """Read the distinct commands that created a sweep, in order.

    Args:
        folder: Folder of the sweep.

    Returns:
        The commands; at least one.

    Raises:
        ResultsError: There is no record of commands.
    """
    path = folder / COMMANDS_FILE
    if not path.exists():
        raise ResultsError(
            f"{folder}: there is no {COMMANDS_FILE}, so the command of this sweep is unknown. Give the folder of a sweep, "
            "not of one of its runs."
        )
    commands = [_command(line) for line in path.read_bytes().splitlines() if line.strip()]
    good = [command for command in commands if command is not None]
    if len(good) < len(commands):
        _log.warning("%s: %d of its lines are damaged and left out", path, len(commands) - len(good))
    if not good:
        raise ResultsError(
            f"{path}: no line is complete, so the command of this sweep is unknown. Give its command again with "
            f"sweep={folder.name}: finished jobs are skipped, the others continue."
        )
    return list(dict.fromkeys(good))


def _command(line: bytes) -> Command | None:
    """The command in a line of the record; None if the line is damaged or incomplete."""
    try:
        record = json.loads(line)
        return Command(folder=str(record["folder"]), words=tuple(new_word(str(word)) for word in record["words"]))
    except (ValueError, KeyError, TypeError):
        return None
