"""Running what the words of `drpt train` ask for, and running it again: `drpt resume`."""

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
_HYDRAS_LOG = "train.log"  # see conf/train.yaml


def launch(words: Sequence[str], *, record: bool = True) -> Path | None:
    """Run or sweep.

    Args:
        words: Hydra's flags and overrides, as typed after `drpt train`.
        record: Whether to write the command into the sweep's folder, for `resume`.

    Returns:
        The sweep's folder, or None when the configuration was only looked at (``--cfg job`` and the like).

    Raises:
        ConfigError: The command cannot be right.
        Interrupted: The process was told to end.
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
        require_folder(folder / name)  # Hydra makes them, and stumbles, as over its own file in there
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
        notes.append(f"{plan.num_duplicates} more would be the same and are skipped")
    if num_finished:
        notes.append(f"{num_finished} {'is' if num_finished == 1 else 'are'} finished already and skipped")
    console.print("; ".join(notes), soft_wrap=True)


def _check_finished_jobs(folder: Path, specs: Mapping[str, RunSpec]) -> None:
    """Before anything is trained beside them: are the finished jobs of a sweep made from what is there now?

    Raises:
        ConfigError: One is not.
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
    """Let Hydra answer a question about the configuration, with words that it can read."""
    overrides = [text for text in words if not text.startswith("-") and ("=" in text or text.startswith("~"))]
    command = read_command(overrides, is_sweep=not MULTIRUN.isdisjoint(words))
    if not any(said.is_sweep for said in command) and (faults := compose(command).faults):
        raise ConfigError("\n".join(faults))
    ask([*(text for text in words if text not in overrides), *(said.spelled.text for said in command)])


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Tell whoever stops a sweep between two jobs how to go on."""
    try:
        yield
    except Interrupted as stop:
        stop.words = stop.words or f"`drpt resume {shlex.quote(str(folder))}` goes on with what is left"
        raise


def _record(folder: Path, typed: Sequence[str], jobs: Mapping[str, str] | None) -> None:
    """Write down what was asked for, for `resume`, and the jobs that it led to, so that tables notice those that are missing.

    No words are of a command that is being resumed.
    """
    remove_parts(folder, is_ours=False)
    if typed:
        record = {"folder": str(Path.cwd()), "words": list(typed)} | ({} if jobs is None else {"jobs": dict(jobs)})
        append_line(folder / COMMANDS_FILE, json.dumps(record))


def resume(folder: Path) -> None:
    """Give a sweep's commands again: finished jobs are skipped, the others go on.

    Args:
        folder: The sweep's; it may have been moved or renamed since.

    Raises:
        ConfigError: A command does not fit any more, or files that it names by relative paths are out of reach.
        ResultsError: There is no record of commands.
    """
    folder = folder.resolve()
    for command in recorded_commands(folder):
        if Path(command.folder) != Path.cwd() and Path(command.folder).is_dir():
            os.chdir(command.folder)  # where the paths of its data are meant
        launch([*command.words, word("runs_folder", str(folder.parent)), word("sweep", folder.name)], record=False)


@dataclass(frozen=True, slots=True)
class Command:
    """One `drpt train …` as it was typed."""

    folder: str  # where
    words: tuple[str, ...]  # after `drpt train`


def recorded_commands(folder: Path) -> list[Command]:
    """The distinct commands that a sweep's folder was made with, in order.

    Args:
        folder: The sweep's.

    Returns:
        At least one command.

    Raises:
        ResultsError: There is no record.
    """
    path = folder / COMMANDS_FILE
    if not path.exists():
        raise ResultsError(
            f"{folder}: no {COMMANDS_FILE} here, so it is not known what made this sweep. Give the folder of a sweep, "
            "not of one of its runs."
        )
    commands = [_command(line) for line in path.read_bytes().splitlines() if line.strip()]
    good = [command for command in commands if command is not None]
    if len(good) < len(commands):
        _log.warning("%s: %d of its lines are damaged, and left out", path, len(commands) - len(good))
    if not good:
        raise ResultsError(
            f"{path}: no whole line, so that it is not known what made this sweep. Give its command again with "
            f"sweep={folder.name}: jobs that are finished are skipped, the others go on."
        )
    return list(dict.fromkeys(good))


def _command(line: bytes) -> Command | None:
    """A line of the record; None where an interruption or damage left something else."""
    try:
        record = json.loads(line)
        return Command(folder=str(record["folder"]), words=tuple(new_word(str(word)) for word in record["words"]))
    except (ValueError, KeyError, TypeError):
        return None
